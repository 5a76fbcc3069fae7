"""Adapters as three flat tensors: packed codes, statistics, and float values, in module order."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mmqadapter.quant import (
    Encoded,
    GaussianQuantizer,
    pack,
    packed_bytes,
    quantized_weights,
    unpack,
)

CODES, STATISTICS, FLOATS = 'codes', 'statistics', 'floats'
# In a task file the names of these tensors begin with it.
ADAPTER_PREFIX = 'adapters:'


def encode_adapters(adapters: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that store all adapters, on the CPU; empty ones are left out.

    A matrix of n weights takes ceil(n * bits / 8) bytes of codes, and a float32 mean and std for
    each set of statistics: 8 bytes, or with ``granularity='channel'`` 8 bytes per channel.

    Raises:
        ValueError: A parameter holds NaN or inf, or a matrix to quantize is constant.
    """
    codes, statistics = [], []
    for _, quantizer, latent in quantized_weights(adapters):
        encoded = quantizer.encode(latent)
        codes.append(pack(encoded.codes, quantizer.bits))
        statistics += [encoded.mean.reshape(-1).cpu(), encoded.std.reshape(-1).cpu()]
    _check_finite(adapters)
    floats = [p.detach().float().reshape(-1).cpu() for p in _float_parameters(adapters)]
    parts = {CODES: codes, STATISTICS: statistics, FLOATS: floats}
    return {name: torch.cat(part) for name, part in parts.items() if part}


def _check_finite(adapters: nn.Module) -> None:
    """Check the float parameters; quantized weights are checked where they are encoded."""
    floats = {id(p) for p in _float_parameters(adapters)}
    for name, parameter in adapters.named_parameters():
        if id(parameter) in floats and not bool(parameter.isfinite().all()):
            raise ValueError(
                f'adapter weight {name!r} holds NaN or inf: expected finite values; go back to an '
                'earlier checkpoint, and lower the learning rate or clip gradients.'
            )


def check_adapter_tensors(adapters: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Check that ``tensors`` can be decoded into these adapters.

    Args:
        adapters: The adapters to load into.
        tensors: See :func:`encode_adapters`.

    Raises:
        ValueError: A tensor has another dtype or size than the adapters need, holds NaN or inf, or
            encodes a constant matrix.
    """
    sizes = {CODES: 0, STATISTICS: 0, FLOATS: 0}
    for _, quantizer, latent in quantized_weights(adapters):
        sizes[CODES] += packed_bytes(latent.numel(), quantizer.bits)
        sizes[STATISTICS] += 2 * quantizer.statistics_count(latent.shape)
    sizes[FLOATS] = sum(p.numel() for p in _float_parameters(adapters))
    for name, size in sizes.items():
        dtype = torch.uint8 if name == CODES else torch.float32
        tensor = tensors.get(name, torch.empty(0, dtype=dtype))
        if tensor.dtype != dtype or tensor.shape != (size,):
            raise ValueError(
                f'adapter tensor {name!r} has shape {tuple(tensor.shape)} of {tensor.dtype}, the '
                f'adapters need ({size},) of {dtype}; build the model with the config that the '
                'task was trained with.'
            )
        if not bool(tensor.isfinite().all()):
            raise ValueError(
                f'adapter tensor {name!r} holds NaN or inf: the training that wrote it failed.'
            )
    for quantizer, _, encoded in _matrices(adapters, tensors):
        quantizer.check(encoded)


@torch.no_grad()
def decode_adapters(adapters: nn.Module, tensors: dict[str, Tensor], trainable: bool) -> None:
    """Load tensors that passed :func:`check_adapter_tensors` into the adapters.

    Args:
        adapters: Adapters built from the tuning config that the tensors were encoded with.
        tensors: See :func:`encode_adapters`.
        trainable: False folds the weights: they are exact, keep their codes, and are not quantized
            again. True gives latent weights to train on.
    """
    for quantizer, latent, encoded in _matrices(adapters, tensors):
        latent.copy_(quantizer.latent(encoded))
        latent.requires_grad_(trainable)
        quantizer.fold(None if trainable else encoded, latent)
    floats = _Reader(tensors.get(FLOATS))
    for parameter in _float_parameters(adapters):
        parameter.copy_(floats.take(parameter.numel()).view_as(parameter))


class _Reader:
    """Reader of a flat tensor, from front to back."""

    def __init__(self, tensor: Tensor | None) -> None:
        self._rest = torch.empty(0) if tensor is None else tensor

    def take(self, count: int) -> Tensor:
        head, self._rest = self._rest[:count], self._rest[count:]
        return head


def _matrices(
    adapters: nn.Module, tensors: dict[str, Tensor]
) -> Iterator[tuple[GaussianQuantizer, nn.Parameter, Encoded]]:
    """Yield quantizer, latent weight and stored codes and statistics of each matrix."""
    codes, statistics = _Reader(tensors.get(CODES)), _Reader(tensors.get(STATISTICS))
    for _, quantizer, latent in quantized_weights(adapters):
        yield quantizer, latent, _read_matrix(quantizer, latent, codes, statistics)


def _read_matrix(
    quantizer: GaussianQuantizer, latent: Tensor, codes: _Reader, statistics: _Reader
) -> Encoded:
    packed = codes.take(packed_bytes(latent.numel(), quantizer.bits))
    shape = quantizer.statistics_shape(latent.shape)
    count = quantizer.statistics_count(latent.shape)
    mean, std = (statistics.take(count).reshape(shape) for _ in range(2))
    return Encoded(unpack(packed, quantizer.bits, latent.numel()).view(latent.shape), mean, std)


def _float_parameters(adapters: nn.Module) -> Iterator[nn.Parameter]:
    latents = {id(latent) for _, _, latent in quantized_weights(adapters)}
    return (p for p in adapters.parameters() if id(p) not in latents)
