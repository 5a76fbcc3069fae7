"""The joined highway at 1 bit: a convolutional adapter per block reads trunk and side stream."""

method = dict(
    type='mmqadapter.HighwayBackbone',
    trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
    adapter=dict(type='ConvAdapter', width=64),
    quantizer=dict(type='GaussianQuantizer', bits=1),
    taps='block',
    cell='JoinedCell',
    saved_taps='half',
)
adapter_rate, adapter_decay = 1e-3, 0.0
