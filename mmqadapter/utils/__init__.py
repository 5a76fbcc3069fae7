"""Utilities that every other package may use: files, text, counts, shards, random states."""
