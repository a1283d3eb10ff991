"""The generated set, written as TFDS files."""
