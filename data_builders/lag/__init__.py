"""LAG fundus photographs."""
