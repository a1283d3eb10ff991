"""NIH ChestX-ray14, images of the view PA."""
