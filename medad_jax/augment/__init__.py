"""Augmentations: one example in, one example out, a key in front."""
