"""LoRA of rank 64 on the fused query, key and value (arXiv 2106.09685); float weights."""

method = dict(
    type='mmqadapter.AdaptedBackbone',
    trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
    adapter=dict(type='LoRA', rank=64, targets='qkv'),
    quantizer=dict(type='GaussianQuantizer', bits=32),
)
