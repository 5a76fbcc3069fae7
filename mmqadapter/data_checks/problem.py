"""Results of a data check: a record for each problem, a summary for each scanned dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ERROR: Literal['error'] = 'error'
WARNING: Literal['warning'] = 'warning'


@dataclass(frozen=True)
class Problem:
    """Problem found by :func:`mmqadapter.data_checks.config.check_dataset`.

    Attributes:
        severity: ``'error'`` if training would crash or learn something wrong; ``'warning'`` if it
            runs, but not on everything in the folder.
        kind: Short name that problems are grouped by, such as ``'unknown label'``.
        where: Split and file, annotation or class.
        message: What is wrong and what to do.
    """

    severity: Literal['error', 'warning']
    kind: str
    where: str
    message: str


@dataclass(frozen=True)
class Scan:
    """Summary of one scanned dataset.

    Attributes:
        split: ``'train'`` or ``'val'``, with a number if a loader has several datasets.
        classes: Class names in the order of the labels.
        counts: Number of pixels (semantic), instances or images of each class, by class name.
        unit: ``'pixels'``, ``'instances'`` or ``'images'``.
        images: Number of images listed.
        problems: Problems within this dataset.
        listed: Image files that the dataset uses.
        unlisted: Image files of its folder that it does not use.
        digests: Paths of the images by the hash of their content.
        ignored: Number of pixels that are ignored.
        ignore_index: Label of these pixels; None where labels are not pixels.
        hint: Likely reason why classes are empty; empty if there is none.
        open_vocabulary: Whether the model is given the class names of this dataset with each image.
        unlabeled: Unlisted images that would be used if they had a label map.
    """

    split: str
    unit: Literal['pixels', 'instances', 'images']
    classes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    images: int = 0
    problems: tuple[Problem, ...] = ()
    listed: frozenset[str] = frozenset()
    unlisted: frozenset[str] = frozenset()
    digests: Mapping[str, str] = field(default_factory=dict)
    ignored: int = 0
    ignore_index: int | None = None
    hint: str = ''
    open_vocabulary: bool = False
    unlabeled: frozenset[str] = frozenset()

    @property
    def is_train(self) -> bool:
        """Return whether the dataset belongs to the training loader."""
        return self.split.startswith('train')
