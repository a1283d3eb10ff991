"""Camelyon16."""
