"""The generated data set: slices of heads, with and without lesions."""
