"""Generated scans of heads, with and without lesions."""
