"""Faster ways to compute a trunk that does not train, of the same modules and hooks."""

from mmqadapter.trunk.autocast import Autocast
from mmqadapter.trunk.compiled import CompiledForward, compile_modules
from mmqadapter.trunk.fused_packed import FusedPackedAttention
from mmqadapter.trunk.fused_windows import FusedShiftedWindows, FusedSwinBlock, FusedWindowAttention
from mmqadapter.trunk.half_block import TRUNK_DTYPES, HalfBlock, parse_dtype, store_blocks
from mmqadapter.trunk.int8_linear import Int8Linear, code_names, decoded
from mmqadapter.trunk.packed_linear import PackedLinear, pack_weights
from mmqadapter.trunk.piecewise import PiecewiseForward, run_in_pieces
from mmqadapter.trunk.ways import FusedModules, compute_as, fuse_attention

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
