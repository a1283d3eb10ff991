"""Chest X-rays of Shenzhen."""
