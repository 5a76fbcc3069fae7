"""Adapters as blobs: packed codes, statistics, and what stays float, in module order."""

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


def encode_adapters(adapters: nn.Module) -> dict[str, Tensor]:
    """Blobs of all adapters; empty ones are left out.

    Per matrix: ceil(n * bits / 8) bytes of codes, and mean and std as float32 (8 bytes).

    Raises:
        ValueError: A parameter holds NaN or inf, or a matrix that is quantised is constant.
    """
    codes, statistics = [], []
    for _, quantizer, latent in quantized_weights(adapters):
        encoded = quantizer.encode(latent)
        codes.append(pack(encoded.codes, quantizer.bits))
        statistics += [encoded.mean.reshape(-1).cpu(), encoded.std.reshape(-1).cpu()]
    _check_finite(adapters)
    floats = [p.detach().float().reshape(-1).cpu() for p in _float_parameters(adapters)]
    parts = {CODES: codes, STATISTICS: statistics, FLOATS: floats}
    return {name: torch.cat(blob) for name, blob in parts.items() if blob}


def _check_finite(adapters: nn.Module) -> None:
    """Quantised weights were checked when they were encoded."""
    floats = {id(p) for p in _float_parameters(adapters)}
    for name, parameter in adapters.named_parameters():
        if id(parameter) in floats and not bool(parameter.isfinite().all()):
            raise ValueError(
                f'the adapter weight {name!r} holds NaN or inf, which is no result; go back to an '
                'earlier checkpoint, and lower the learning rate or clip gradients.'
            )


def check_adapter_tensors(adapters: nn.Module, blobs: dict[str, Tensor]) -> None:
    """Refuse blobs that are not of these adapters.

    Raises:
        ValueError: A blob has another dtype or size than the adapters need, NaN or inf, or a
            matrix that does not vary.
    """
    sizes = {CODES: 0, STATISTICS: 0, FLOATS: 0}
    for _, quantizer, latent in quantized_weights(adapters):
        sizes[CODES] += packed_bytes(latent.numel(), quantizer.bits)
        sizes[STATISTICS] += 2 * quantizer.statistics_count(latent.shape)
    sizes[FLOATS] = sum(p.numel() for p in _float_parameters(adapters))
    for name, size in sizes.items():
        dtype = torch.uint8 if name == CODES else torch.float32
        blob = blobs.get(name, torch.empty(0, dtype=dtype))
        if blob.dtype != dtype or blob.shape != (size,):
            raise ValueError(
                f'blob {name!r} holds {tuple(blob.shape)} of {blob.dtype}, the adapters need '
                f'({size},) of {dtype}; build the model with the config that the task came from.'
            )
        if not bool(blob.isfinite().all()):
            raise ValueError(f'blob {name!r} holds NaN or inf: the training that wrote it failed.')
    for quantizer, _, encoded in _matrices(adapters, blobs):
        quantizer.check(encoded)


@torch.no_grad()
def decode_adapters(adapters: nn.Module, blobs: dict[str, Tensor], trainable: bool) -> None:
    """Put blobs that passed :func:`check_adapter_tensors` into the adapters.

    Args:
        adapters: The adapters, of the tuning config that the blobs came from.
        blobs: Result of :func:`encode_adapters`.
        trainable: False folds the weights (exact; codes kept, quantiser off); True gives latent
            weights to train on.
    """
    for quantizer, latent, encoded in _matrices(adapters, blobs):
        latent.copy_(quantizer.latent(encoded))
        latent.requires_grad_(trainable)
        quantizer.fold(None if trainable else encoded, latent)
    floats = _Reader(blobs.get(FLOATS))
    for parameter in _float_parameters(adapters):
        parameter.copy_(floats.take(parameter.numel()).view_as(parameter))


class _Reader:
    """Takes a blob apart from front to back."""

    def __init__(self, blob: Tensor | None) -> None:
        self._rest = torch.empty(0) if blob is None else blob

    def take(self, count: int) -> Tensor:
        head, self._rest = self._rest[:count], self._rest[count:]
        return head


def _matrices(
    adapters: nn.Module, blobs: dict[str, Tensor]
) -> Iterator[tuple[GaussianQuantizer, nn.Parameter, Encoded]]:
    """Quantiser, latent weight and what the blobs hold of it, for each matrix."""
    codes, statistics = _Reader(blobs.get(CODES)), _Reader(blobs.get(STATISTICS))
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
