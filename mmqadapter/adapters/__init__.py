"""Adapters: small trainable modules, one file each; any quantizer works with any adapter."""

from mmqadapter.adapters.adaptformer import AdaptFormer, NormedAdaptFormer
from mmqadapter.adapters.base import (
    Adapter,
    TokenAdapter,
    build_adapter,
    is_float,
    quantize_matrices,
)
from mmqadapter.adapters.bitfit import BitFit
from mmqadapter.adapters.conv_adapter import ConvAdapter
from mmqadapter.adapters.dual_low_rank import DualLowRankAdapter
from mmqadapter.adapters.layer_vectors import LayerVectors
from mmqadapter.adapters.lora import LoRA
from mmqadapter.adapters.lorand import LoRand
from mmqadapter.adapters.mona import Mona
from mmqadapter.adapters.norm_tuning import NormTuning
from mmqadapter.adapters.parallel_conv import ParallelConvAdapter
from mmqadapter.adapters.prompts import Prompts, ShallowPrompts
from mmqadapter.adapters.sequential import SequentialAdapter
from mmqadapter.adapters.ssf import SSF

__all__ = [
    'SSF',
    'AdaptFormer',
    'Adapter',
    'BitFit',
    'ConvAdapter',
    'DualLowRankAdapter',
    'LoRA',
    'LayerVectors',
    'LoRand',
    'Mona',
    'NormTuning',
    'NormedAdaptFormer',
    'ParallelConvAdapter',
    'Prompts',
    'SequentialAdapter',
    'ShallowPrompts',
    'TokenAdapter',
    'build_adapter',
    'is_float',
    'quantize_matrices',
]
