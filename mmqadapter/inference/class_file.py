"""JSON file of the classes of all images of a run, put together from the files of single images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

LISTED = 5  # classes of an image


def best_classes(scores: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return name, index and score of the classes of an image, the best first, at most five.

    Args:
        scores: Score (0 to 1) of each class.
        classes: Names of the classes.
    """
    order = np.argsort(-scores, kind='stable')[:LISTED].tolist()
    return [dict(name=classes[i], index=i, score=round(float(scores[i]), 6)) for i in order]


def class_chunks(files: Sequence[Path], classes: Sequence[str]) -> Iterator[bytes]:
    """Yield a JSON file with the names of all classes and an entry per image, in chunks.

    Args:
        files: JSON files, one per image, with ``image`` and ``classes``.
        classes: Names of the classes.
    """
    yield b'{"classes": ' + json.dumps(list(classes)).encode() + b', "images": ['
    for number, file in enumerate(files):
        content = json.loads(file.read_bytes())
        entry = {**content['image'], 'classes': content['classes']}
        yield (', ' if number else '').encode() + json.dumps(entry).encode()
    yield b']}'
