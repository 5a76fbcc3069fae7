"""Models on a GPU that is not there: tensors without content that know their device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmqadapter.quant import BITS, CRITERIA, gaussian_codebook, quantizer


class Transfers(TorchDispatchMode):
    """Record of the operations whose inputs and outputs are on different devices."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [t for t in (*args, *(kwargs or {}).values(), out) if isinstance(t, torch.Tensor)]
        if len({t.device for t in tensors if t.ndim}) > 1:
            self.names.append(str(func))
        return out


@contextmanager
def fake_device() -> Iterator[FakeTensorMode]:
    """Run the block with fake tensors; nothing cached in it is seen outside."""
    quantizer._codebook.cache_clear()
    for bits, criterion in product(BITS, CRITERIA):
        gaussian_codebook(bits, criterion)  # iterates until it converges, which needs values
    # Real tensors, such as the codebook's levels, are taken as they are and become fake.
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode
    quantizer._codebook.cache_clear()


def move(module: nn.Module, mode: FakeTensorMode, device: str) -> None:
    """Replace all parameters and buffers of a module by fake ones on ``device``, in place."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                fake = mode.from_tensor(parameter.detach()).to(device)
                part._parameters[name] = nn.Parameter(fake, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = mode.from_tensor(buffer).to(device)


@contextmanager
def cuda_autocast(dtype: torch.dtype) -> Iterator[None]:
    """Enable CUDA's autocast rules; ``torch.autocast`` refuses without a GPU."""
    before = torch.get_autocast_dtype('cuda')
    torch.set_autocast_enabled('cuda', True)
    torch.set_autocast_dtype('cuda', dtype)
    try:
        yield
    finally:
        torch.set_autocast_enabled('cuda', False)
        torch.set_autocast_dtype('cuda', before)
        torch.clear_autocast_cache()
