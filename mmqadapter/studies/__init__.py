"""Measure, compare and plan: benchmark, sweep, analysis, planner, demo and their reports."""
