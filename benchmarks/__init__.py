"""What the package's speed and memory are, one command a question."""
