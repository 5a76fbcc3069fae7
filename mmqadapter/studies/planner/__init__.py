"""Planner: which widths and bits of adapters fit into a given number of bytes."""
