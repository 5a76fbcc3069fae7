"""LoRand: low-rank projections with cores, two branches; float weights."""

method = dict(
    type='mmqadapter.AdaptedBackbone',
    trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
    adapter=dict(type='LoRand'),
    quantizer=dict(type='GaussianQuantizer', bits=32),
)
