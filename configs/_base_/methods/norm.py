"""Norm tuning: the layer norms train."""

method = dict(
    type='mmqadapter.FrozenBackbone',
    train='norm',
    trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
)
