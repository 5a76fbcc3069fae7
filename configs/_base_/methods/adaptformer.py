"""AdaptFormer-64: a bottleneck beside each MLP, with biases (arXiv 2205.13535); float weights."""

method = dict(
    type='mmqadapter.AdaptedBackbone',
    trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
    adapter=dict(type='AdaptFormer', width=64, bias=True),
    quantizer=dict(type='GaussianQuantizer', bits=32),
)
