"""The joined highway with two taps per block, after attention and after the MLP; 1 bit."""

method = dict(
    type='mmqadapter.HighwayBackbone',
    trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
    adapter=dict(type='ConvAdapter', width=32),
    quantizer=dict(type='GaussianQuantizer', bits=1),
    taps='stream',
    cell='JoinedCell',
    saved_taps='half',
)
adapter_rate, adapter_decay = 1e-3, 0.0
