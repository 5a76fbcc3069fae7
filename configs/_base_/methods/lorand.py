"""LoRand: low-rank projections with cores, two branches; float weights."""

method = dict(
    type='mmqadapter.AdaptedBackbone',
    adapter=dict(type='LoRand'),
    quantizer=dict(type='GaussianQuantizer', bits=32),
)
