"""Faster computation of a frozen trunk, with the same modules, keys and hooks."""

from mmqadapter.backbones.acceleration.accelerate import accelerate
from mmqadapter.backbones.acceleration.class_swap import FusedModules, stock_forwards
from mmqadapter.backbones.acceleration.fused_multihead import FusedMultiheadAttention
from mmqadapter.backbones.acceleration.fused_windows import (
    FusedShiftedWindows,
    FusedSwinBlock,
    FusedWindowAttention,
)
from mmqadapter.backbones.acceleration.int8_linear import code_names, decode_int8
from mmqadapter.backbones.acceleration.legacy_arguments import (
    LEGACY_ARGUMENTS,
    with_legacy,
    without_legacy,
)
from mmqadapter.backbones.acceleration.options import TrunkOptions

__all__ = [
    'LEGACY_ARGUMENTS',
    'FusedModules',
    'FusedMultiheadAttention',
    'FusedShiftedWindows',
    'FusedSwinBlock',
    'FusedWindowAttention',
    'TrunkOptions',
    'accelerate',
    'code_names',
    'decode_int8',
    'stock_forwards',
    'with_legacy',
    'without_legacy',
]
