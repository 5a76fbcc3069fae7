"""Progress bar of a prediction: images done, images per second, time left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Item = TypeVar('Item')


class RateColumn(ProgressColumn):
    """Column with the number of images per second."""

    def render(self, task: Task) -> Text:
        """Return the rate of the last seconds; of the whole run at its end."""
        speed = task.finished_speed or task.speed
        return Text('' if speed is None else f'{speed:.2f} images/s')


def track_images(images: Sequence[Item], shown: bool) -> Iterator[Item]:
    """Yield the images, with a progress bar on stderr if ``shown``."""
    columns = (
        TextColumn('Predicting'), BarColumn(), MofNCompleteColumn(), RateColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as progress:
        yield from progress.track(images)
