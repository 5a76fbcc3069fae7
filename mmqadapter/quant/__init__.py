"""Quantisation of weights: codebook, quantisers, packing (torch only, plus the registry)."""

from mmqadapter.quant.batched import (
    CachedWeights,
    QuantizedWeight,
    quantize_batched,
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
    latent_of,
    materialize,
    materialized_state_dict,
    parametrize_weight,
    parametrized_weights,
    remove_parametrizations,
)
from mmqadapter.quant.quantizer import Encoded, GaussianQuantizer

__all__ = [
    'BITS',
    'CRITERIA',
    'KEPT',
    'Encoded',
    'GaussianQuantizer',
    'CachedWeights',
    'HalfRounding',
    'Layer',
    'LayerQuantizer',
    'PackedWeight',
    'QuantizedWeight',
    'parametrize_weight',
    'parametrized_weights',
    'code_entropy',
    'remove_parametrizations',
    'forget_codes',
    'gaussian_codebook',
    'keep_codes',
    'kept_codes',
    'latent_of',
    'output_dim',
    'pack',
    'packed_bytes',
    'quantize_batched',
    'quantized_weights',
    'round_to_half',
    'materialize',
    'materialized_state_dict',
    'stored_sizes',
    'unpack',
]
