"""Runs methods: configuration, devices, loop, checkpoints, evaluation."""
