"""Faster ways to compute a trunk that does not train, of the same modules and hooks."""

from mmqadapter.backbones.acceleration.autocast import AutocastState
from mmqadapter.backbones.acceleration.chunked import ChunkedForward, run_chunked
from mmqadapter.backbones.acceleration.class_swap import FusedModules, fuse_attention, specialize
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
from mmqadapter.backbones.acceleration.prepacked_linear import PrepackedLinear, prepack_weights

__all__ = [
    'TRUNK_DTYPES',
    'AutocastState',
    'CompiledForward',
    'FusedModules',
    'FusedPackedAttention',
    'FusedShiftedWindows',
    'FusedSwinBlock',
    'FusedWindowAttention',
    'HalfBlock',
    'Int8Linear',
    'PrepackedLinear',
    'ChunkedForward',
    'code_names',
    'compile_modules',
    'specialize',
    'decoded',
    'fuse_attention',
    'prepack_weights',
    'parse_dtype',
    'run_chunked',
    'store_blocks',
]
