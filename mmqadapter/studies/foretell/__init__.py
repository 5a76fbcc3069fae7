"""Foretelling of what a training step costs, from tensors without content."""
