"""Partial-1: the last block trains."""

method = dict(
    type='mmqadapter.FrozenBackbone',
    train='partial-1',
    trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
)
