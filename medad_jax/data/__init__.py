"""Data sets, the order of their rows, and the feeds to the device."""
