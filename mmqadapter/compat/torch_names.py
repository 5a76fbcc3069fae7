"""Functions of PyTorch that its older releases lack or call differently; the oldest is 2.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import checkpoint

# Its name since PyTorch 2.5.
OutOfMemoryError = getattr(torch, 'OutOfMemoryError', torch.cuda.OutOfMemoryError)
TORCH = tuple(int(part) for part in torch.__version__.split('.')[:2])


def is_autocast_available(device: str) -> bool:
    """Return whether a type of device has autocast (PyTorch 2.4)."""
    if TORCH >= (2, 4):
        return torch.amp.is_autocast_available(device)
    return device in ('cpu', 'cuda')


def is_autocast_enabled(device: str) -> bool:
    """Return whether autocast is enabled for a type of device (PyTorch 2.4)."""
    if TORCH >= (2, 4):
        return torch.is_autocast_enabled(device)
    return torch.is_autocast_cpu_enabled() if device == 'cpu' else torch.is_autocast_enabled()


def get_autocast_dtype(device: str) -> torch.dtype:
    """Return the dtype of autocast for a type of device (PyTorch 2.4)."""
    if TORCH >= (2, 4):
        return torch.get_autocast_dtype(device)
    return torch.get_autocast_cpu_dtype() if device == 'cpu' else torch.get_autocast_gpu_dtype()


def is_compiling() -> bool:
    """Return whether ``torch.compile`` or ``torch.export`` is tracing (PyTorch 2.3)."""
    return torch.compiler.is_compiling() if TORCH >= (2, 3) else torch._utils.is_compiling()


def register_state_dict_post_hook(module: nn.Module, hook: Callable[..., None]) -> None:
    """Call ``hook(module, state_dict, prefix, metadata)`` after ``state_dict`` (PyTorch 2.5)."""
    if TORCH >= (2, 5):
        module.register_state_dict_post_hook(hook)
    else:
        module._register_state_dict_hook(hook)


def register_load_state_dict_pre_hook(module: nn.Module, hook: Callable[..., None]) -> None:
    """Call ``hook(module, state_dict, prefix, ...)`` before ``load_state_dict`` (PyTorch 2.5)."""
    if TORCH >= (2, 5):
        module.register_load_state_dict_pre_hook(hook)
    else:
        module._register_load_state_dict_pre_hook(hook, with_module=True)


def get_device_states(*tensors: Tensor) -> tuple[list[int], list[Tensor]]:
    """Return the devices of tensors and the states of their random generators; not of the CPU."""
    return checkpoint.get_device_states(*tensors)


def set_device_states(devices: list[int], states: list[Tensor], device: str) -> None:
    """Set states of the random generators of a type of device (argument of PyTorch 2.4)."""
    arguments: dict[str, Any] = {'device_type': device} if TORCH >= (2, 4) else {}
    checkpoint.set_device_states(devices, states, **arguments)
