"""Cells: input of the adapter, gradients from cell to cell, activation memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mmqadapter.adapters import build_adapter
from mmqadapter.highway import (
    SAVED_TAPS,
    Cell,
    FusedResidual,
    JoinedCell,
    ParallelCell,
    StandardizedCell,
    build_cell,
)
from mmqadapter.registry import config_of
from mmqadapter.utils.accounting import saved_for_backward

GRID = (5, 10)
KINDS = pytest.mark.parametrize('kind', [ParallelCell, JoinedCell, StandardizedCell])
ADAPTERS = pytest.mark.parametrize('adapter', ['SequentialAdapter', 'ConvAdapter'])
FORMATS = pytest.mark.parametrize('saved', SAVED_TAPS)
# Relative error of gradients through a chain of three cells.
GRADIENT_ERROR = {'float': 1e-5, 'half': 1e-2, 'int8': 4e-2}


def cell(kind: type[Cell], adapter: str = 'ConvAdapter', saved: str = 'float') -> Cell:
    built = build_adapter(dict(type=adapter, width=8), None, channels=64)
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.1)
    return kind(built, FusedResidual(SAVED_TAPS[saved]))


def by_hand(cell: Cell, h: Tensor, tap: Tensor) -> Tensor:
    """Return the side stream after the tap, by plain autograd."""
    if isinstance(cell, JoinedCell):
        var, mean = torch.var_mean(tap, -1, correction=0, keepdim=True)
        tap = (tap - mean) / (var + 1e-6).sqrt()
        if isinstance(cell, StandardizedCell):
            var, mean = torch.var_mean(tap, 1, correction=0, keepdim=True)
            tap = (tap - mean) / (var + 0.01).sqrt()
        tap = tap + h
    grid = (GRID,) if cell.adapter.spatial else ()
    return h + cell.adapter(tap, *grid)


def gradients(chain: nn.Module, h: Tensor, start: Tensor) -> list[Tensor]:
    weights = torch.linspace(-1, 1, h.numel()).view_as(h)
    return list(torch.autograd.grad((h * weights).sum(), [start, *chain.parameters()]))


@KINDS
@ADAPTERS
@FORMATS
def test_gradients_through_a_chain_are_those_of_plain_autograd(
    kind: type[Cell], adapter: str, saved: str
) -> None:
    """Gradients pass through the side stream and through the adapters that read it."""
    chain = nn.ModuleList(cell(kind, adapter, saved) for _ in range(3))
    taps = torch.randn(3, 2, 50, 64) * torch.tensor([0.5, 1, 2]).view(3, 1, 1, 1)
    start = torch.randn(2, 50, 64, requires_grad=True)
    h, expected = start.clone(), start  # a cell changes the stream in place
    for link, tap in zip(chain, taps, strict=True):
        h, expected = link(h, tap, GRID), by_hand(link, expected, tap)
    torch.testing.assert_close(h, expected, rtol=1e-4, atol=1e-4)
    actual, exact = gradients(chain, h, start), gradients(chain, expected, start)
    for a, b in zip(actual, exact, strict=True):
        assert (a - b).norm() <= GRADIENT_ERROR[saved] * b.norm()


def test_a_joined_cell_reads_the_side_stream_and_a_parallel_cell_does_not() -> None:
    h, tap = torch.randn(2, 2, 50, 64)
    for kind in (ParallelCell, JoinedCell):
        built = cell(kind)
        update, update_of_doubled = (built(n * h, tap, GRID) - n * h for n in (1, 2))
        equal = torch.allclose(update, update_of_doubled, atol=1e-4)
        assert equal == (kind is ParallelCell)


def test_a_joined_cell_normalizes_taps_of_any_magnitude() -> None:
    joined, h, tap = cell(JoinedCell), torch.randn(2, 50, 64), torch.randn(2, 50, 64)
    large, usual = joined(h.clone(), 100 * tap + 7, GRID), joined(h.clone(), tap, GRID)
    torch.testing.assert_close(large, usual, rtol=1e-3, atol=1e-3)


def test_a_standardized_cell_equalizes_channels_and_removes_their_offsets() -> None:
    standardized, zero = cell(StandardizedCell), torch.zeros(1, 1, 1)
    outlier = torch.tensor([20.0] + 63 * [1.0])
    tap = torch.randn(2, 50, 64) * outlier + torch.linspace(-3, 3, 64)
    read, joined = standardized.read(zero, tap), cell(JoinedCell).read(zero, tap)
    assert read.mean(1).abs().max() < 1e-5 < joined.mean(1).abs().max()
    assert 0.5 < read.std(1).min() and read.std(1).max() < 1.1
    assert joined.std(1).max() > 10 * joined.std(1).median()


def test_a_standardized_cell_computes_in_float32() -> None:
    standardized, zero = cell(StandardizedCell), torch.zeros(1, 1, 1)
    tap = torch.randn(1, 70_000, 64) + torch.linspace(-5, 5, 64)  # the squares sum up to over 2**16
    exact = standardized.read(zero, tap)
    read = standardized.half().read(zero, tap.half())
    assert read.dtype == torch.float16
    torch.testing.assert_close(read.float(), exact, rtol=0, atol=0.05)
    with torch.autocast('cpu', torch.bfloat16):
        found = standardized.read(zero, tap.bfloat16())
    torch.testing.assert_close(found.float(), exact, rtol=0, atol=0.1)


@pytest.mark.parametrize('kind', [JoinedCell, StandardizedCell])
def test_a_cell_leaves_tap_and_stream_as_they_are(kind: type[Cell]) -> None:
    h, tap = torch.randn(2, 2, 50, 64)
    before = h.clone(), tap.clone()
    cell(kind).read(h, tap)
    assert torch.equal(h, before[0]) and torch.equal(tap, before[1])


def test_a_standardized_cell_reads_each_image_by_itself() -> None:
    standardized, h, tap = cell(StandardizedCell), torch.randn(2, 50, 64), torch.randn(2, 50, 64)
    alone = standardized.read(h[:1], tap[:1])
    torch.testing.assert_close(standardized.read(h, tap)[:1], alone)


def test_of_constant_channels_and_of_one_token_only_the_stream_is_read() -> None:
    standardized, h, token = cell(StandardizedCell), torch.randn(2, 50, 64), torch.randn(2, 1, 64)
    torch.testing.assert_close(standardized.read(h, token.expand(2, 50, 64)), h)
    assert torch.equal(standardized.read(h[:, :1], token), h[:, :1])


@KINDS
@ADAPTERS
@FORMATS
def test_only_the_input_of_the_adapter_is_saved(kind: type[Cell], adapter: str, saved: str) -> None:
    built, h, tap = cell(kind, adapter, saved), torch.randn(2, 50, 64), torch.randn(2, 50, 64)
    with saved_for_backward(built) as counter:
        built(h.requires_grad_().clone(), tap, GRID)
    assert counter.total == 100 * {'float': 4 * 64, 'half': 2 * 64, 'int8': 64 + 4}[saved]


@KINDS
def test_a_start_of_shape_1_1_1_is_a_zero_stream(kind: type[Cell]) -> None:
    built, tap = cell(kind), torch.randn(2, 50, 64)
    zeros = torch.zeros(2, 50, 64)
    assert torch.equal(built(torch.zeros(1, 1, 1), tap, GRID), built(zeros, tap, GRID))


@KINDS
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_taps_are_read_in_their_dtype_and_added_up_in_float32(
    kind: type[Cell], dtype: torch.dtype
) -> None:
    built, h, tap = cell(kind).to(dtype), torch.randn(2, 50, 64), torch.randn(2, 50, 64)
    assert built.read(h, tap.to(dtype)).dtype == dtype
    assert built(h, tap.to(dtype), GRID).dtype == torch.float32


@ADAPTERS
def test_under_autocast_a_joined_cell_casts_its_input_once_as_the_adapter_would(
    adapter: str,
) -> None:
    joined, h, tap = cell(JoinedCell, adapter), torch.randn(2, 50, 64), torch.randn(2, 50, 64)
    with torch.autocast('cpu', torch.bfloat16), saved_for_backward(joined) as counter:
        read = joined.read(h, tap)
        found = joined(h.clone(), tap, GRID)
    assert read.dtype == torch.bfloat16 and found.dtype == torch.float32
    assert counter.total == 100 * 2 * 64
    exact = joined.read(h, tap)
    assert exact.dtype == torch.float32 and torch.equal(read, exact.bfloat16())
    grid = (GRID,) if joined.adapter.spatial else ()
    with torch.autocast('cpu', torch.bfloat16):
        expected = h + joined.adapter(exact, *grid)
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    'name', ['JoinedCell', 'mmqadapter.JoinedCell', dict(type='JoinedCell'), dict(type=JoinedCell)]
)
def test_cells_are_named_by_class(name: str | dict) -> None:
    assert config_of(Cell, 'cell', name) == {'type': 'JoinedCell'}
    adapter = build_adapter(dict(type='ConvAdapter', width=8), None, channels=64)
    built = build_cell(config_of(Cell, 'cell', name), adapter, FusedResidual(SAVED_TAPS['half']))
    assert isinstance(built, JoinedCell) and built.adapter is adapter


@pytest.mark.parametrize('name', ['JoindCell', 'ConvAdapter', dict(type='Cel'), {}])
def test_names_of_other_classes_are_refused(name: str | dict) -> None:
    with pytest.raises(ValueError, match=r"cell=.* is unknown; .*'JoinedCell', 'ParallelCell'"):
        config_of(Cell, 'cell', name)


def test_unknown_arguments_of_a_cell_are_refused() -> None:
    config = config_of(Cell, 'cell', dict(type='JoinedCell', width=3))
    with pytest.raises(ValueError, match='^cell=.* has width: expected arguments of '):
        build_cell(config, cell(JoinedCell).adapter, FusedResidual(SAVED_TAPS['float']))
