"""Frozen: neck and heads train, the backbone does not."""

method = dict(type='mmqadapter.FrozenBackbone')
