"""Mona: two per block, scaled norm and three depthwise convolutions; float weights."""

method = dict(
    type='mmqadapter.AdaptedBackbone',
    trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
    adapter=dict(type='Mona'),
    quantizer=dict(type='GaussianQuantizer', bits=32),
)
