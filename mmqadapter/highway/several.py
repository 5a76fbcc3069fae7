"""Several highways beside one run of a trunk: one for each task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor, nn

from mmqadapter.highway.side_stream import Highway, SideStream
from mmqadapter.utils.token_grid import Grid


class Highways(nn.Module):
    """Highways of one form that are fed together; stands where one highway stands.

    Args:
        highways: One or more, each with cells and norms for the same trunk.
    """

    def __init__(self, highways: Iterable[Highway]) -> None:
        super().__init__()
        self.highways = nn.ModuleList(highways)

    def start(self, images: Tensor) -> SideStreams:
        """Side streams of a forward pass over images (B, 3, H, W)."""
        return SideStreams([highway.start(images) for highway in self._each()])

    def _each(self) -> Iterator[Highway]:
        for highway in self.highways:
            assert isinstance(highway, Highway)
            yield highway


class SideStreams:
    """Side streams that get the same taps; arguments as for :class:`SideStream`."""

    def __init__(self, streams: Sequence[SideStream]) -> None:
        self._streams = streams

    def tap(self, stage: int, tokens: Tensor, grid: Grid) -> None:
        """Give a tap to each."""
        for stream in self._streams:
            stream.tap(stage, tokens, grid)

    def merge(self, stage: int, tokens: Tensor, grid: Grid) -> None:
        """Go to the next stage with each."""
        for stream in self._streams:
            stream.merge(stage, tokens, grid)

    def output(self, stage: int, tokens: Tensor, grid: Grid) -> None:
        """Join the trunk's stream to each."""
        for stream in self._streams:
            stream.output(stage, tokens, grid)

    def finish(self) -> Sequence[Sequence[Tensor]]:
        """Maps of each highway: one (B, C, H, W) per output."""
        return [stream.finish() for stream in self._streams]
