"""Check that the numbers of a released task can be the result of a training."""

from __future__ import annotations

import torch
from torch import Tensor

from mmqadapter.interop.petl_vit.layout import HEAD_BITS, PetlContent, matrix_count
from mmqadapter.quant import unpack


def find_problem(content: PetlContent) -> str | None:
    """Return what no training can have written, as text; None if there is no problem."""
    settings, head, statistics = content.settings, content.head, content.statistics
    matrices = [(packed, settings.bit) for packed in content.codes.view(matrix_count(settings), -1)]
    if settings.binary_head:
        matrices.append((head['codes'], HEAD_BITS))
        statistics = torch.cat([statistics, head['statistics']])
    floats = [statistics, *(t for t in head.values() if t.is_floating_point())]
    if not all(bool(t.isfinite().all()) for t in floats):
        return 'it holds NaN or inf where finite numbers are expected'
    if not bool((statistics[1::2] > 0).all()):
        return 'a standard deviation is not above 0'
    if any(_is_constant(packed, bits) for packed, bits in matrices):
        return 'all weights of a matrix are equal'
    return None


def _is_constant(packed: Tensor, bits: int) -> bool:
    codes = unpack(packed, bits, packed.numel() * 8 // bits)
    return bool((codes == codes[0]).all())
