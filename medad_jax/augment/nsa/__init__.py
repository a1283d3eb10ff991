"""Synthetic anomalies as in the code of NSA: CutPaste, FPI, PII and NSA."""
