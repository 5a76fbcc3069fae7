"""Adapters: small trainable modules, one file each; any of them takes any quantiser."""

from mmqadapter.adapters.adaptformer import AdaptFormer
from mmqadapter.adapters.base import Adapter, build_adapter, is_float, quantized_weights
from mmqadapter.adapters.lora import LoRA
from mmqadapter.adapters.sequential import SequentialAdapter

__all__ = [
    'AdaptFormer',
    'Adapter',
    'LoRA',
    'SequentialAdapter',
    'build_adapter',
    'is_float',
    'quantized_weights',
]
