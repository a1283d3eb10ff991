"""Brain Tumor MRI."""
