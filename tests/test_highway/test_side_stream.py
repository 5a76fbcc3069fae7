"""The side stream by hand: cells, mergings, outputs, order, precision."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.adapters import SequentialAdapter
from mmqadapter.highway import (
    SAVED_TAPS,
    Cell,
    FusedResidual,
    Highway,
    JoinedCell,
    LowRankMerging,
    NoStem,
    ParallelCell,
)

GRID = (3, 4)
IMAGES = torch.zeros(2, 3, 12, 16)
NO_STEM = NoStem(4, 4)


def cell(channels: int, saved: str = 'float') -> ParallelCell:
    adapter = SequentialAdapter(channels, 2)
    nn.init.normal_(adapter.up.weight)
    return ParallelCell(adapter, FusedResidual(SAVED_TAPS[saved]))


def two_stages() -> Highway:
    """Build stages with two taps of 4 channels and three of 6, and one output each."""
    stages = [[cell(4), cell(4)], [cell(6), cell(6), cell(6)]]
    return Highway(
        stages, [LowRankMerging(4, 6, rank=3)], [nn.LayerNorm(4), nn.Identity()], NO_STEM
    )


def test_two_stages_by_hand() -> None:
    highway = two_stages()
    first, second = torch.randn(3, 2, 12, 4), torch.randn(4, 2, 4, 6)
    stream = highway.start(IMAGES)
    for tap in first[:2]:
        stream.tap(0, tap, GRID)
    stream.output(0, first[2], GRID)
    stream.merge(0, first[2], GRID)
    for tap in second[:3]:
        stream.tap(1, tap, (2, 2))
    stream.output(1, second[3], (2, 2))
    maps = stream.finish()

    cells = [[c.adapter for c in stage] for stage in highway.stages]
    h = sum(a(tap) for a, tap in zip(cells[0], first[:2], strict=True))
    expected = [F.layer_norm(first[2] + h, (4,)).transpose(1, 2).unflatten(2, GRID)]
    h = highway.mergings[0](h, first[2], GRID)
    h = h + sum(a(tap) for a, tap in zip(cells[1], second[:3], strict=True))
    expected.append((second[3] + h).transpose(1, 2).unflatten(2, (2, 2)))
    assert [m.shape for m in maps] == [(2, 4, 3, 4), (2, 6, 2, 2)]
    torch.testing.assert_close(maps, tuple(expected))


@pytest.mark.parametrize('leading', [1, 5])
def test_one_stage_with_several_outputs_skips_class_and_register_tokens(leading: int) -> None:
    highway = Highway([[cell(4) for _ in range(4)]], [], [nn.Identity(), nn.LayerNorm(4)], NO_STEM)
    blocks = torch.randn(2, 3, 2, leading + 12, 4)
    stream, expected, h = highway.start(IMAGES), [], torch.zeros(2, 12, 4)
    for number, (first, second, end) in enumerate(blocks):
        for index, tap in enumerate((first, second)):
            stream.tap(0, tap, GRID)
            h = h + highway.stages[0][2 * number + index].adapter(tap[:, leading:])
        stream.output(0, end, GRID)
        joined = highway.norms[number](end[:, leading:] + h)
        expected.append(joined.transpose(1, 2).unflatten(2, GRID))
    torch.testing.assert_close(stream.finish(), tuple(expected))


def test_every_parameter_gets_a_gradient() -> None:
    highway = two_stages()
    stream = highway.start(IMAGES)
    for _ in range(2):
        stream.tap(0, torch.randn(2, 12, 4), GRID)
    stream.output(0, torch.randn(2, 12, 4), GRID)
    stream.merge(0, torch.randn(2, 12, 4), GRID)
    for _ in range(3):
        stream.tap(1, torch.randn(2, 4, 6), (2, 2))
    stream.output(1, torch.randn(2, 4, 6), (2, 2))
    sum(m.pow(3).sum() for m in stream.finish()).backward()
    assert all(p.grad.any() for p in highway.parameters())


@pytest.mark.parametrize(('saved', 'alive'), [('float', True), ('half', False), ('int8', False)])
def test_only_adapters_hold_taps(saved: str, alive: bool) -> None:
    stream = Highway([[cell(4, saved)]], [], [nn.Identity()], NO_STEM).start(IMAGES)
    tap = torch.randn(2, 12, 4)
    reference = weakref.ref(tap)
    stream.tap(0, tap, GRID)
    del tap
    assert (reference() is not None) == alive


def test_float16_updates_add_up_in_float32() -> None:
    class Small(Cell):
        def forward(self, h: Tensor, tap: Tensor, grid: tuple[int, int]) -> Tensor:
            return h + tap

    cells = [Small(cell(1).adapter, cell(1).residual) for _ in range(1001)]
    stream = Highway([cells], [], [nn.Identity()], NO_STEM).start(IMAGES)
    for value in [1000.0] + 1000 * [0.1]:
        stream.tap(0, torch.full((1, 1, 1), value).half(), (1, 1))
    stream.output(0, torch.zeros(1, 1, 1), (1, 1))
    assert stream.finish()[0].item() == pytest.approx(1100, abs=0.1)


@pytest.mark.parametrize('kinds', [(ParallelCell, JoinedCell, ParallelCell), 2 * (ParallelCell,)])
def test_cells_with_pending_updates_and_cells_that_read_the_stream(
    kinds: tuple[type[Cell], ...],
) -> None:
    cells = [kind(cell(4).adapter, cell(4).residual) for kind in kinds]
    stream = Highway([cells], [], 2 * [nn.Identity()], NO_STEM).start(IMAGES)
    h, taps = torch.zeros(1, 1, 1), torch.randn(len(cells), 2, 12, 4)
    for unit, tap in zip(cells, taps, strict=True):
        stream.tap(0, tap, GRID)
        h = h + unit.adapter(unit.read(h, tap))
    stream.output(0, torch.zeros(2, 12, 4), GRID)
    stream.output(0, torch.zeros(2, 12, 4), GRID)
    expected = h.transpose(1, 2).unflatten(2, GRID)
    for output in stream.finish():
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    parameters = [p for unit in cells for p in unit.parameters()]
    weights = torch.randn(expected.shape)
    exact = torch.autograd.grad((2 * expected * weights).sum(), parameters)
    actual = torch.autograd.grad(sum((m * weights).sum() for m in stream.finish()), parameters)
    torch.testing.assert_close(actual, exact, rtol=1e-3, atol=1e-4)


def test_maps_have_the_trunks_dtype() -> None:
    stream = Highway([[cell(4).half()]], [], [nn.LayerNorm(4).half()], NO_STEM).start(IMAGES)
    stream.tap(0, torch.randn(2, 12, 4).half(), GRID)
    stream.output(0, torch.randn(2, 12, 4).half(), GRID)
    assert stream.finish()[0].dtype == torch.float16


def test_a_number_of_tokens_that_does_not_match_the_merging_is_refused() -> None:
    stream = two_stages().start(IMAGES)
    stream.tap(0, torch.randn(2, 12, 4), GRID)
    stream.merge(0, torch.randn(2, 12, 4), GRID)
    with pytest.raises(
        ValueError, match='of 4 tokens is invalid in stage 1: expected 12.*Only.*2 x'
    ):
        stream.tap(1, torch.randn(2, 12, 6), GRID)


def test_streams_of_one_highway_are_independent() -> None:
    highway = Highway([[cell(4)]], [], [nn.LayerNorm(4)], NO_STEM)
    tap, end = torch.randn(2, 2, 12, 4)
    maps = []
    streams = [highway.start(IMAGES), highway.start(IMAGES)]
    for stream in streams:
        stream.tap(0, tap, GRID)
    for stream in streams:
        stream.output(0, end, GRID)
        maps.append(stream.finish()[0])
    assert torch.equal(*maps)
