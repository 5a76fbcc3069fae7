"""The highway in its published form (E3VA, arXiv 2306.09729), at 1 bit."""

method = dict(
    type='mmqadapter.HighwayBackbone',
    trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
    adapter=dict(type='DualLowRankAdapter', branches=2, rank=8),
    quantizer=dict(type='GaussianQuantizer', bits=1),
    saved_taps='half',
)
# The trunk is frozen, so adapters take the learning rate of arXiv 2307.16867; not searched here.
adapter_rate, adapter_decay = 1e-3, 0.0
