"""The synthetic anomalies of NSA, and of the methods in its code."""
