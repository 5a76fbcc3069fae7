"""The highway that all configs named so use."""

_base_ = './highway_joined.py'
