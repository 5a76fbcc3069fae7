"""Dispatch mode in which large tensors have a shape and a dtype, but no content."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from mmqadapter.utils.live_bytes import counts_live_bytes

aten = torch.ops.aten
LARGE = 2**20  # bytes from which on a new tensor of floats gets no content
INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)
REMEDY = 'measure the model where it trains: `mmqadapter benchmark CONFIG --out DIR`.'


class UnknownValueError(ValueError):
    """Error of a step that asks for the content of a tensor without content."""


class Outline(TorchDispatchMode):
    """Mode in which weights and activations have no content, so that a step takes seconds.

    An operation whose inputs have content runs as ever: those on boxes and labels of the ground
    truth, on anchors, and on positions, which decide how many objects of which size there are. What
    is computed from a tensor without content has none either. New tensors have content unless they
    are of floats and take 1 MiB or more.

    Raises:
        ValueError: PyTorch is too old.
        UnknownValueError: Within the mode, if the step depends on the values of such a tensor.
    """

    def __init__(self) -> None:
        super().__init__()
        if not counts_live_bytes():
            raise ValueError(
                f'PyTorch {torch.__version__} cannot foretell memory: expected 2.6 or newer; '
                f'{REMEDY}'
            )
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, without content if an input has none."""
        kwargs = kwargs or {}
        inputs = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        if not inputs:
            return self._new(func, args, kwargs)
        if not any(isinstance(tensor, FakeTensor) for tensor in inputs):
            return func(*args, **kwargs)
        if func is aten._local_scalar_dense.default:
            return _scalar(inputs[0])
        if func in INDEXED:
            args = (args[0], _positions(args[1]), *args[2:])
        return self._without_content(func, args, kwargs)

    def outline(self, tensor: Tensor) -> Tensor:
        """Return a tensor without content, of the shape and dtype of ``tensor``."""
        return self.fake.from_tensor(tensor.detach()).clone()

    def outline_weights(self, module: nn.Module) -> None:
        """Replace all parameters and buffers of a module by ones without content."""
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    weight = self.outline(parameter)
                    part._parameters[name] = nn.Parameter(weight, parameter.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = self.outline(buffer)

    def _new(self, func: Any, args: Any, kwargs: Any) -> Any:
        outlined = self._without_content(func, args, kwargs)
        large = isinstance(outlined, Tensor) and outlined.nbytes >= LARGE
        return outlined if large and outlined.is_floating_point() else func(*args, **kwargs)

    def _without_content(self, func: Any, args: Any, kwargs: Any) -> Any:
        try:
            with self.fake:
                return func(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise UnknownValueError(
                f'{func} cannot be foretold, since the size of its result depends on values; '
                f'{REMEDY}'
            ) from error


def _scalar(tensor: Tensor) -> float:
    """Return a value for a float, such as the norm of gradients, which decides no size."""
    if tensor.dtype.is_floating_point:
        return 1.0
    raise UnknownValueError(
        f'a branch on a value of {tensor.dtype} that training computes cannot be foretold; {REMEDY}'
    )


def _positions(indices: Any) -> list[Tensor | None]:
    """Return indices in which masks that have content are replaced by positions."""
    positions: list[Tensor | None] = []
    for index in indices:
        known = isinstance(index, Tensor) and not isinstance(index, FakeTensor)
        if known and index.dtype in (torch.bool, torch.uint8):
            positions += index.nonzero(as_tuple=True)
        else:
            positions.append(index)
    return positions
