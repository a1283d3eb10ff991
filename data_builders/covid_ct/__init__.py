"""COVID-CT."""
