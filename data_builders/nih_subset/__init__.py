"""NIH ChestX-ray14, images of a shipped list."""
