"""Sweeps: trainings of methods x seeds x learning rates on a user's own data, and their report."""
