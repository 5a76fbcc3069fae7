"""Convolutional stem: values by hand, sizes, start, gradients, quantization."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmqadapter.highway import ConvStem, NoStem
from mmqadapter.utils.accounting import saved_for_backward

ONE_BIT = dict(type='GaussianQuantizer', bits=1)


def trained(stem: ConvStem) -> ConvStem:
    for parameter in stem.parameters():
        nn.init.normal_(parameter, std=0.2)
    return stem


@pytest.mark.parametrize(
    ('stride', 'size', 'tokens'),
    [(16, (32, 48), 6), (16, (33, 40), 9), (14, (28, 28), 4), (4, (8, 12), 6), (3, (9, 7), 9)],
)
def test_one_token_for_each_patch_of_the_padded_image(
    stride: int, size: tuple[int, int], tokens: int
) -> None:
    stem = ConvStem(stride, channels=6, width=4)
    out = stem(torch.randn(2, 3, *size))
    assert out.shape == (2, tokens, 6) and out.dtype == torch.float32
    assert not out.any()


def test_sums_by_hand() -> None:
    stem, images = trained(ConvStem(8, channels=6, width=4)), torch.randn(2, 3, 16, 24)
    first, second, third, projection = (
        layer for layer in stem.layers if isinstance(layer, nn.Conv2d)
    )
    x = F.gelu(F.conv2d(images, first.weight, first.bias, stride=2, padding=1))
    x = F.gelu(F.conv2d(x, second.weight, second.bias, stride=2, padding=1))
    x = F.gelu(F.conv2d(x, third.weight, third.bias, padding=1))
    assert x.shape == (2, 4, 4, 6)
    # Tokens row by row; under each token 2 x 2 positions, all channels of all positions.
    positions = x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).reshape(2, 6, 16)
    expected = positions @ projection.weight.flatten(1).T + projection.bias
    torch.testing.assert_close(stem(images), expected)


def test_only_the_image_is_saved_for_backward() -> None:
    stem, images = trained(ConvStem(16, channels=6)), torch.randn(2, 3, 64, 64)
    with saved_for_backward(stem) as saved:
        out = stem(images)
    assert saved.total == images.nbytes
    out.pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in stem.parameters())


def test_numbers_of_weights() -> None:
    stem = ConvStem(16, channels=192, width=32)
    kernels = [layer.weight.numel() for layer in stem.layers if isinstance(layer, nn.Conv2d)]
    assert kernels == [3 * 9 * 32, 9 * 32**2, 9 * 32**2, 16 * 32 * 192]


def test_all_kernels_but_the_first_are_quantized() -> None:
    stem = ConvStem(8, channels=6, width=4)
    stem.quantize(ONE_BIT)
    levels = [layer.weight.unique().numel() for layer in stem.layers if hasattr(layer, 'weight')]
    assert levels == [3 * 9 * 4, 2, 2, 2]
    start = stem(torch.randn(1, 3, 16, 16)).abs().max()
    assert 0 < start < 0.05


def test_no_stem_is_a_zero_that_broadcasts() -> None:
    zero = NoStem(16, 6)(torch.randn(2, 3, 8, 8).half())
    assert zero.shape == (1, 1, 1) and zero.dtype == torch.float32 and not zero.any()


def test_invalid_width_is_refused() -> None:
    with pytest.raises(ValueError, match='width=0 is invalid: expected 1 or more'):
        ConvStem(16, 6, width=0)
