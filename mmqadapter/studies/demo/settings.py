"""Settings in which the two demos differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmqadapter.studies.demo.domains import CHECKED, SHADE
from mmqadapter.studies.demo.files import write_instances, write_semantic
from mmqadapter.studies.demo.scenes import Domain


@dataclass(frozen=True)
class DemoTask:
    """Settings of a demo.

    Attributes:
        config: File name of its config.
        target: Domain to adapt to; the detector uses the one that it learns in a few hundred steps.
        metric: Key of its score in mmengine's message hub, and its name for readers.
        write: Writes a split of a domain: (root, domain, split, count).
        classes: Returns the class names of a domain as the data set expects them.
    """

    config: str
    target: Domain
    metric: tuple[str, str]
    write: Callable[[Path, Domain, str, int], None]
    classes: Callable[[Domain], tuple[str, ...]]

    def percent(self, row: dict) -> float:
        """Return the score of a row in percent; evaluators give it as a share or in percent."""
        value = row[self.metric[0]]
        return 100 * value if value <= 1 else value


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


@dataclass(frozen=True)
class DemoMethod:
    """A method of the benchmark, and how the demo trains it.

    Attributes:
        title: Name for readers.
        method: Name of the method, such as ``'highway-joined@1'``.
        rates: Learning rates as multiples of the base rate, by parts of parameter names.
        head_bits: Bits of a weight of neck and head; 32 means float.
    """

    title: str
    method: str
    rates: dict[str, float]
    head_bits: int = 32


METHODS = {
    'frozen': DemoMethod('frozen', 'frozen', {}),
    'highway': DemoMethod('highway, 1 bit', 'highway-joined@1', {'backbone.adapters': 3.0}, 4),
    'in_path': DemoMethod('in path, 1 bit', 'adaptformer@1', {'backbone.adapters': 3.0}),
    'full': DemoMethod('full fine-tuning', 'full', {'backbone': 0.3}),
}
COLORS = [(40, 40, 40), (228, 87, 46), (41, 128, 185), (39, 174, 96), (241, 196, 15)]
