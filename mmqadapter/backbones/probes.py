"""Stand-ins for adapters and side streams that record what hooks pass on in a dry run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mmqadapter.adapters import Adapter
from mmqadapter.backbones.dry_run import Change, DryRun
from mmqadapter.backbones.taps import Event, TrunkRun
from mmqadapter.utils.token_grid import Grid


@dataclass(frozen=True)
class Seen:
    """Tokens that a hook passed on.

    Attributes:
        block: Name of the block.
        tokens: (B, L, C).
        grid: The grid (H, W) that came with them.
        event: What a side stream would do with them; None for an adapter in path.
    """

    block: str
    tokens: Tensor
    grid: Grid
    event: Event | None = None


class AdapterProbe:
    """Stand-in for an adapter in path, which returns what it is given.

    Args:
        block: Name of the block.
        site: Name of the site.
        parts: What hooks have to call it for: those of q, k and v that each projection returns.
    """

    def __init__(self, block: str, site: str, parts: Iterable[str] = ('',)) -> None:
        self.block, self.site = block, site
        self.missing = set(parts)
        self.seen: list[Seen] = []

    def changes(self, adapter: Adapter) -> Iterator[Change]:
        """Yield what makes hooks that call ``adapter`` call this."""
        yield adapter, 'forward', self.forward
        yield adapter, 'merge', self.merge
        yield adapter, 'beside', self.forward

    def forward(self, *args: Any, part: str = '') -> Tensor:
        """Return the last tensor: tokens, or the projection that LoRA adds to."""
        self.missing.discard(part)
        if not isinstance(args[-1], Tensor):
            self.seen.append(Seen(self.block, *args))
        return next(arg for arg in reversed(args) if isinstance(arg, Tensor))

    def merge(self, weight: Tensor, part: str = '') -> Tensor:
        """Return ``weight``."""
        self.missing.discard(part)
        return weight


class TapProbe:
    """Stand-in for the side streams of a trunk's run.

    Args:
        dry: The dry run, which knows the block that feeds.
    """

    def __init__(self, dry: DryRun) -> None:
        self._dry = dry
        self.seen: list[Seen] = []

    def changes(self, run: TrunkRun) -> Iterator[Change]:
        """Yield what makes taps that feed ``run`` feed this."""
        yield run, 'feed', self.feed

    def feed(self, event: Event, stage: int, tokens: Tensor, grid: Grid) -> None:
        """Record tokens (B, L, C)."""
        self.seen.append(Seen(self._dry.block, tokens, grid, event))
