"""The highway of all configs that are named ``highway``."""

_base_ = './highway_joined.py'
