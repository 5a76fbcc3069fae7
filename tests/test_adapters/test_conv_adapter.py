"""ConvAdapter: counts, formula, class tokens, quantized weights."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.adapters import ConvAdapter, SequentialAdapter, build_adapter
from mmqadapter.quant import quantized_weights

GRID = (3, 5)
SIZES = pytest.mark.parametrize('kernel_size', [1, 3, (3, 5, 7)])


def trained(kernel_size: int | Sequence[int] = 3, scale: float = 1.0) -> ConvAdapter:
    adapter = ConvAdapter(8, 4, kernel_size, scale=scale)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter)
    return adapter


def convolved(convolution: nn.Conv2d, maps: Tensor) -> Tensor:
    """Convolve maps (B, H, W, r) as a weighted sum of shifted copies."""
    size, (height, width) = convolution.kernel_size[0], maps.shape[1:3]
    around = F.pad(maps, (0, 0, *4 * [size // 2]))
    shifts = [(row, column) for row in range(size) for column in range(size)]
    weight, bias = convolution.weight[:, 0], convolution.bias
    return bias + sum(weight[:, i, j] * around[:, i : i + height, j : j + width] for i, j in shifts)


@pytest.mark.parametrize('channels', [96, 768])
def test_parameter_counts(channels: int) -> None:
    def count(**settings: object) -> int:
        return sum(p.numel() for p in ConvAdapter(channels, 64, **settings).parameters())

    plain = 129 * channels + 64
    assert count() == plain + 64 * (9 + 1)
    assert count(kernel_size=(3, 5, 7)) == plain + 64 * (9 + 25 + 49 + 3)
    assert count(bias=False) == 128 * channels + 64 * 9
    assert count(scale='learned') == count() + 1


@SIZES
@pytest.mark.parametrize('leading', [0, 1, 5])
def test_neighbors_on_the_grid_are_added_in_the_bottleneck(
    kernel_size: int | Sequence[int], leading: int
) -> None:
    adapter, x = trained(kernel_size, scale=0.5), torch.randn(2, leading + 15, 8)
    hidden = F.gelu(x @ adapter.down.weight.T + adapter.down.bias)
    maps = hidden[:, leading:].unflatten(1, GRID)
    convolutions = list(adapter.mixing.convolutions)
    change = sum(convolved(c, maps) for c in convolutions) / len(convolutions)
    hidden = torch.cat([hidden[:, :leading], (maps + change).flatten(1, 2)], 1)
    expected = 0.5 * (hidden @ adapter.up.weight.T + adapter.up.bias)
    torch.testing.assert_close(adapter(x, GRID), expected, rtol=1e-4, atol=1e-4)


def test_without_its_convolutions_it_is_a_sequential_adapter() -> None:
    adapter, plain, x = trained(), SequentialAdapter(8, 4), torch.randn(2, 15, 8)
    for convolution in adapter.mixing.convolutions:
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    plain.load_state_dict(adapter.state_dict(), strict=False)
    torch.testing.assert_close(adapter(x, GRID), plain(x))


def test_a_token_changes_only_its_neighbors() -> None:
    adapter, x = trained(), torch.randn(1, 16, 8)
    modified = x.clone()
    modified[0, 1] += 1  # after the class token: row 0, column 0
    changed = (adapter(modified, GRID) - adapter(x, GRID)).abs().amax(-1)[0] > 1e-6
    assert not changed[0]
    assert changed[1:].view(GRID).nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_the_projections_are_quantized_and_the_convolutions_are_not() -> None:
    quantizer = dict(type='GaussianQuantizer', bits=1)
    adapter = build_adapter(dict(type='ConvAdapter', width=4), quantizer, channels=8)
    assert [name for name, _, _ in quantized_weights(adapter)] == ['down', 'up']
    assert adapter.mixing.convolutions[0].weight.unique().numel() == 36


def test_sites() -> None:
    assert ConvAdapter.sites == ('attn_branch', 'mlp_branch') and ConvAdapter.spatial
    assert not SequentialAdapter.spatial


@pytest.mark.parametrize('kernel_size', [0, 2, -1, (3, 4), ()])
def test_kernels_of_invalid_sizes_are_refused(kernel_size: int | tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match='kernel_size=.* is invalid: expected odd sizes'):
        ConvAdapter(8, 4, kernel_size)


def test_a_bottleneck_of_no_width_is_refused() -> None:
    with pytest.raises(ValueError, match='width=0 is invalid: expected 1 or more'):
        ConvAdapter(8, 0)


def test_another_grid_than_that_of_the_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match='15 tokens do not fill a grid of 4 x 4'):
        trained()(torch.randn(2, 15, 8), (4, 4))
