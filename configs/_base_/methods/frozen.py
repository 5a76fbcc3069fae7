"""Frozen: neck and heads train, the backbone does not."""

method = dict(
    type='mmqadapter.FrozenBackbone',
    trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
)
