"""Quantisation of adapter weights: codebook, quantiser, packing (torch only, plus the registry)."""

from mmqadapter.quant.codebook import BITS, CRITERIA, gaussian_codebook
from mmqadapter.quant.packing import pack, packed_bytes, unpack
from mmqadapter.quant.quantizer import Encoded, GaussianQuantizer

__all__ = [
    'BITS',
    'CRITERIA',
    'Encoded',
    'GaussianQuantizer',
    'gaussian_codebook',
    'pack',
    'packed_bytes',
    'unpack',
]
