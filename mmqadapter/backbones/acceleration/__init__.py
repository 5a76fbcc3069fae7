"""Faster computation of a frozen trunk, with the same modules, keys and hooks."""

from mmqadapter.backbones.acceleration.accelerate import accelerate
from mmqadapter.backbones.acceleration.autocast import AutocastState
from mmqadapter.backbones.acceleration.class_swap import FusedModules
from mmqadapter.backbones.acceleration.fused_multihead import FusedPackedAttention
from mmqadapter.backbones.acceleration.fused_windows import (
    FusedShiftedWindows,
    FusedSwinBlock,
    FusedWindowAttention,
)
from mmqadapter.backbones.acceleration.int8_linear import code_names, decoded
from mmqadapter.backbones.acceleration.legacy_arguments import LEGACY_ARGUMENTS, with_legacy
from mmqadapter.backbones.acceleration.options import TrunkOptions

__all__ = [
    'LEGACY_ARGUMENTS',
    'AutocastState',
    'FusedModules',
    'FusedPackedAttention',
    'FusedShiftedWindows',
    'FusedSwinBlock',
    'FusedWindowAttention',
    'TrunkOptions',
    'accelerate',
    'code_names',
    'decoded',
    'with_legacy',
]
