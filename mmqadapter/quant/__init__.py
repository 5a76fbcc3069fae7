"""Quantization of weights: codebooks, quantizers, parametrizations and packing of codes."""

from mmqadapter.quant.batched import (
    CachedWeights,
    QuantizedWeight,
    check_quantized_weights,
    quantize_batched,
    quantized_weights,
)
from mmqadapter.quant.codebook import BITS, CRITERIA, gaussian_codebook
from mmqadapter.quant.entropy import code_entropy
from mmqadapter.quant.half import HalfRounding, round_to_half
from mmqadapter.quant.layer_quantizer import (
    CODES_ATTRIBUTE,
    Layer,
    LayerQuantizer,
    PackedWeight,
    attach_codes,
    clear_codes,
    output_dim,
    stored_codes,
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
    'CODES_ATTRIBUTE',
    'CRITERIA',
    'CachedWeights',
    'Encoded',
    'GaussianQuantizer',
    'HalfRounding',
    'Layer',
    'LayerQuantizer',
    'PackedWeight',
    'QuantizedWeight',
    'attach_codes',
    'check_quantized_weights',
    'clear_codes',
    'code_entropy',
    'gaussian_codebook',
    'latent_of',
    'materialize',
    'materialized_state_dict',
    'output_dim',
    'pack',
    'packed_bytes',
    'parametrize_weight',
    'parametrized_weights',
    'quantize_batched',
    'quantized_weights',
    'remove_parametrizations',
    'round_to_half',
    'stored_codes',
    'stored_sizes',
    'unpack',
]
