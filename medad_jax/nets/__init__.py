"""Networks as functions of parameters and images."""
