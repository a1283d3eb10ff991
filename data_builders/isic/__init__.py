"""ISIC 2018 Task 3."""
