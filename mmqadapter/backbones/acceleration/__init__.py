"""Faster ways to compute a trunk that does not train, of the same modules and hooks."""

from mmqadapter.backbones.acceleration.autocast import Autocast
from mmqadapter.backbones.acceleration.chunked import PiecewiseForward, run_in_pieces
from mmqadapter.backbones.acceleration.class_swap import FusedModules, compute_as, fuse_attention
from mmqadapter.backbones.acceleration.compiled import CompiledForward, compile_modules
from mmqadapter.backbones.acceleration.fused_multihead import FusedPackedAttention
from mmqadapter.backbones.acceleration.fused_windows import (
    FusedShiftedWindows,
    FusedSwinBlock,
    FusedWindowAttention,
)
from mmqadapter.backbones.acceleration.half_block import (
    TRUNK_DTYPES,
    HalfBlock,
    parse_dtype,
    store_blocks,
)
from mmqadapter.backbones.acceleration.int8_linear import Int8Linear, code_names, decoded
from mmqadapter.backbones.acceleration.prepacked_linear import PackedLinear, pack_weights

__all__ = [
    'TRUNK_DTYPES',
    'Autocast',
    'CompiledForward',
    'FusedModules',
    'FusedPackedAttention',
    'FusedShiftedWindows',
    'FusedSwinBlock',
    'FusedWindowAttention',
    'HalfBlock',
    'Int8Linear',
    'PackedLinear',
    'PiecewiseForward',
    'code_names',
    'compile_modules',
    'compute_as',
    'decoded',
    'fuse_attention',
    'pack_weights',
    'parse_dtype',
    'run_in_pieces',
    'store_blocks',
]
