"""Colon_AD_public."""
