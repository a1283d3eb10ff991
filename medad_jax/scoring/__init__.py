"""Scores from predictions, and metrics from scores."""
