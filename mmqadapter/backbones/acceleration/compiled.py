"""Modules of a frozen trunk whose forward pass PyTorch compiles; hooks on them stay outside."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from mmengine.logging import print_log
from torch import nn
from torch._dynamo import config as dynamo_config

from mmqadapter.backbones.acceleration.class_swap import FastForward, specialize

# Of one module's code: a width and a context (autocast, gradients) each take a version.
VERSIONS = 64


class CompiledForward(FastForward):
    """A module whose own ``forward`` is compiled, but neither its hooks nor what holds it.

    All modules of a class share what was compiled; a copy of the module needs nothing new.
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the stock module, within rounding."""
        stock: Any = super().forward
        return _attempt(stock.__func__)(self, *args, **kwargs)


def compile_modules(modules: Iterable[nn.Module]) -> None:
    """Compile the forward pass of these modules when they are first called."""
    for module in modules:
        specialize(module, CompiledForward)


class _Attempt:
    """A forward pass that is compiled, or if that fails run as it is from then on."""

    def __init__(self, stock: Callable) -> None:
        self._stock = stock
        self._compiled: Callable | None = torch.compile(stock)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._compiled is None:
            return self._stock(*args, **kwargs)
        try:
            with dynamo_config.patch(recompile_limit=VERSIONS):
                return self._compiled(*args, **kwargs)
        except Exception as error:  # of any part of the compiler
            output = self._stock(*args, **kwargs)  # an error of the module itself comes again
            self._give_up(error)
            return output

    def _give_up(self, error: Exception) -> None:
        self._compiled = None
        reason = next(iter(str(error).strip().splitlines()), '')[:200]
        print_log(
            f'{self._stock.__qualname__} cannot be compiled here ({type(error).__name__}: '
            f'{reason}); it runs as it is. On a CPU torch.compile needs a C++ compiler.',
            logger='current', level=logging.WARNING,
        )  # fmt: skip


@cache
def _attempt(stock: Callable) -> _Attempt:
    return _Attempt(stock)
