"""BitFit: biases and relative position tables train (arXiv 2106.10199)."""

method = dict(
    type='mmqadapter.FrozenBackbone',
    train='bitfit',
    trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
)
