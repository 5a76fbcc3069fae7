"""Bytes of adapters in a task file, for each number of bits."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from mmqadapter.quant import packed_bytes, quantized_weights
from mmqadapter.studies.planner.blank_model import FLOAT_BITS
from mmqadapter.studies.planner.container import Entries
from mmqadapter.taskfile.adapter_codec import ADAPTER_PREFIX, CODES, FLOATS, STATISTICS


@dataclass(frozen=True)
class AdapterSize:
    """Counts of adapters from which their bytes follow.

    Attributes:
        matrices: Of each quantized matrix, the number of weights and the number of means, which
            is also that of standard deviations.
        floats: Number of parameters that stay float.
    """

    matrices: tuple[tuple[int, int], ...]
    floats: int

    @property
    def parameters(self) -> int:
        """Number of all parameters."""
        return self.floats + sum(weights for weights, _ in self.matrices)

    def entries(self, bits: int) -> Entries:
        """Return the tensors in a task file, by name; empty ones are left out as in the file."""
        codes = sum(packed_bytes(n, bits) for n, _ in self.matrices) if bits < FLOAT_BITS else 0
        statistics = 2 * sum(count for _, count in self.matrices) if bits < FLOAT_BITS else 0
        sizes = {
            CODES: ('torch.uint8', codes),
            STATISTICS: ('torch.float32', statistics),
            FLOATS: ('torch.float32', self.floats if bits < FLOAT_BITS else self.parameters),
        }
        used = {name: (dtype, (size,)) for name, (dtype, size) in sizes.items() if size}
        return {f'{ADAPTER_PREFIX}{name}': tensor for name, tensor in used.items()}


def adapter_size(adapters: nn.Module) -> AdapterSize:
    """Count the parameters of adapters, quantized or float."""
    quantized = list(quantized_weights(adapters))
    matrices = tuple((w.numel(), q.statistics_count(w.shape)) for _, q, w in quantized)
    total = sum(parameter.numel() for parameter in adapters.parameters())
    return AdapterSize(matrices, total - sum(weights for weights, _ in matrices))
