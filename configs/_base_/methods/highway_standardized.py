"""The standardized highway at 1 bit: an adapter per block reads channels of equal scale."""

method = dict(
    type='mmqadapter.HighwayBackbone',
    trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
    adapter=dict(type='ConvAdapter', width=64),
    quantizer=dict(type='GaussianQuantizer', bits=1),
    taps='block',
    cell='StandardizedCell',
    saved_taps='half',
)
adapter_rate, adapter_decay = 1e-3, 0.0
