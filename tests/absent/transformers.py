"""Stands in for transformers in the child processes of tests, as if it were not installed."""

raise ImportError('absent in child processes of tests')
