"""Adapters: small trainable modules, one file each; any quantizer works with any adapter."""

from mmqadapter.adapters.adaptformer import AdaptFormer, NormedAdaptFormer
from mmqadapter.adapters.base import (
    Adapter,
    TokenAdapter,
    build_adapter,
    is_float,
    quantize_matrices,
)
from mmqadapter.adapters.conv_adapter import ConvAdapter
from mmqadapter.adapters.dual_low_rank import DualLowRankAdapter
from mmqadapter.adapters.lora import LoRA
from mmqadapter.adapters.lorand import LoRand
from mmqadapter.adapters.mona import Mona
from mmqadapter.adapters.parallel_conv import ParallelConvAdapter
from mmqadapter.adapters.sequential import SequentialAdapter

__all__ = [
    'AdaptFormer',
    'Adapter',
    'ConvAdapter',
    'DualLowRankAdapter',
    'LoRA',
    'LoRand',
    'Mona',
    'NormedAdaptFormer',
    'ParallelConvAdapter',
    'SequentialAdapter',
    'TokenAdapter',
    'build_adapter',
    'is_float',
    'quantize_matrices',
]
