"""Benchmark of tuning methods: memory, time and size on a user's own config and machine."""
