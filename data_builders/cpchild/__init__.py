"""CP-CHILD-A."""
