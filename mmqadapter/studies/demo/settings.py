"""What the two demos differ in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmqadapter.studies.demo.domains import CHECKED, SHADE
from mmqadapter.studies.demo.files import write_instances, write_semantic
from mmqadapter.studies.demo.scenes import Domain


@dataclass(frozen=True)
class DemoTask:
    """A demo.

    Attributes:
        config: File name of its config.
        target: The domain to adapt to; a few hundred steps of a detector need the easier one.
        metric: Key of its score in mmengine's message hub, and what a reader calls it.
        write: Writes a split of a domain: (root, domain, split, count).
        classes: Class names of a domain as the data set wants them.
    """

    config: str
    target: Domain
    metric: tuple[str, str]
    write: Callable[[Path, Domain, str, int], None]
    classes: Callable[[Domain], tuple[str, ...]]


def _with_ground(domain: Domain) -> tuple[str, ...]:
    return domain.classes


def _without_ground(domain: Domain) -> tuple[str, ...]:
    return domain.classes[1:]


TASKS = {
    'seg': DemoTask('demo_seg.py', CHECKED, ('val/mIoU', 'mIoU'), write_semantic, _with_ground),
    'det': DemoTask(
        'demo_det.py', SHADE, ('val/coco/segm_mAP', 'mask AP'), write_instances, _without_ground
    ),
}
COLOURS = [(40, 40, 40), (228, 87, 46), (41, 128, 185), (39, 174, 96), (241, 196, 15)]
