"""From predictions to scores, and from scores to metrics."""
