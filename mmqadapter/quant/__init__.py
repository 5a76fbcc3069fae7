"""Quantisation of weights: codebook, quantisers, packing (torch only, plus the registry)."""

from mmqadapter.quant.batched import (
    GivenWeights,
    QuantizedWeight,
    quantize_together,
    quantized_weights,
)
from mmqadapter.quant.codebook import BITS, CRITERIA, gaussian_codebook
from mmqadapter.quant.entropy import code_entropy
from mmqadapter.quant.half import HalfRounding, round_to_half
from mmqadapter.quant.layer_quantizer import (
    KEPT,
    Layer,
    LayerQuantizer,
    PackedWeight,
    forget_codes,
    keep_codes,
    kept_codes,
    output_dim,
    stored_sizes,
)
from mmqadapter.quant.packing import pack, packed_bytes, unpack
from mmqadapter.quant.parametrizations import (
    attach,
    attached,
    detach_all,
    latent_of,
    settle,
    settled_state,
)
from mmqadapter.quant.quantizer import Encoded, GaussianQuantizer

__all__ = [
    'BITS',
    'CRITERIA',
    'KEPT',
    'Encoded',
    'GaussianQuantizer',
    'GivenWeights',
    'HalfRounding',
    'Layer',
    'LayerQuantizer',
    'PackedWeight',
    'QuantizedWeight',
    'attach',
    'attached',
    'code_entropy',
    'detach_all',
    'forget_codes',
    'gaussian_codebook',
    'keep_codes',
    'kept_codes',
    'latent_of',
    'output_dim',
    'pack',
    'packed_bytes',
    'quantize_together',
    'quantized_weights',
    'round_to_half',
    'settle',
    'settled_state',
    'stored_sizes',
    'unpack',
]
