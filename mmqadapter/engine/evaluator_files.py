"""Check that an evaluator scores with the annotations of the dataset that is predicted."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from mmqadapter.engine.data_classes import BUILD_ERRORS, build_unloaded
from mmqadapter.engine.data_configs import leaf_configs


def check_evaluator_files(cfg: Config, split: str) -> None:
    """Check that the evaluators of a split read the annotation file of its dataset.

    A score against another file is low, or that of other images, without an error. Two files of
    equal content pass, and so do several datasets, which an evaluator may join in its own file.

    Raises:
        ValueError: The files differ.
    """
    dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
    leaves = list(leaf_configs(dataset, cfg.get('default_scope'))) if dataset else []
    if len(leaves) != 1:
        return
    predicted = _annotation_file(*leaves[0])
    for scored in _scored_files(cfg.get(f'{split}_evaluator')):
        if predicted and os.path.isfile(scored) and not _equal(predicted, scored):
            raise ValueError(
                f'{split}_evaluator.ann_file={scored!r} is another file than the {predicted!r} of '
                f'{split}_dataloader, so the scores would be wrong; set both to the same.'
            )


def _annotation_file(leaf: dict, scope: str | None) -> str:
    """Return the annotation file of a dataset of mmdet; empty if there is none here."""
    try:
        dataset = build_unloaded(leaf, scope)
    except BUILD_ERRORS:  # who builds it for use reports that
        return ''
    file = str(getattr(dataset, 'ann_file', '') or '')
    return file if hasattr(dataset, 'COCOAPI') and os.path.isfile(file) else ''


def _scored_files(evaluators: Any) -> Iterator[str]:
    listed = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators or {}]
    for evaluator in listed:
        file = evaluator.get('ann_file')
        if isinstance(file, str):
            yield file


def _equal(first: str, second: str) -> bool:
    return os.path.samefile(first, second) or filecmp.cmp(first, second, shallow=False)
