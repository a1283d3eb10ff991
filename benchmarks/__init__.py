"""Commands that measure the package's speed and memory, one per question."""
