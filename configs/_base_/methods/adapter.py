"""Adapter-64: two bottlenecks per block, with biases (arXiv 1902.00751); float weights."""

method = dict(
    type='mmqadapter.AdaptedBackbone',
    trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
    adapter=dict(type='SequentialAdapter', width=64, bias=True),
    quantizer=dict(type='GaussianQuantizer', bits=32),
)
