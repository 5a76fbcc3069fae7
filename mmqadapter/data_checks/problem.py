"""What a data check finds: one record per problem, one summary per scanned data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ERROR: Literal['error'] = 'error'
WARNING: Literal['warning'] = 'warning'


@dataclass(frozen=True)
class Problem:
    """One finding of :func:`mmqadapter.data_checks.config.check_dataset`.

    Attributes:
        severity: ``'error'``: training would crash or learn something wrong;
            ``'warning'``: training runs, but not on all that the folder holds.
        kind: Short name by which findings are grouped, such as ``'unknown label'``.
        where: Split and file, annotation or class.
        message: What is wrong and what to do.
    """

    severity: Literal['error', 'warning']
    kind: str
    where: str
    message: str


@dataclass(frozen=True)
class Scan:
    """One scanned data set.

    Attributes:
        split: ``'train'`` or ``'val'``, with a number where a loader holds several data sets.
        classes: Class names in the order of the labels.
        counts: Per class name the pixels (semantic) or instances found.
        unit: ``'pixels'`` or ``'instances'``.
        images: Number of images listed.
        problems: Findings inside this data set.
        unlisted: Image files of the folder that the data set does not use.
        listed: Image files that it does use.
    """

    split: str
    unit: Literal['pixels', 'instances']
    classes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    images: int = 0
    problems: tuple[Problem, ...] = ()
    listed: frozenset[str] = frozenset()
    unlisted: frozenset[str] = frozenset()

    @property
    def is_train(self) -> bool:
        """Whether the data set belongs to the training loader."""
        return self.split.startswith('train')
