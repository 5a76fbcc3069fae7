"""Digest of what results depend on besides the images: weights, config and score threshold."""

from __future__ import annotations

import hashlib
import json
import os

from mmengine.config import Config

CHUNK = 1 << 20  # bytes


def settings_digest(task: str | os.PathLike, cfg: Config, score_thr: float) -> str:
    """Return a digest (hexadecimal) by which a later run recognizes results as its own.

    Args:
        task: The task file or checkpoint.
        cfg: Config of the model; its model, its test data and its ``load_from`` count.
        score_thr: See :func:`mmqadapter.inference.predict`.
    """
    parts = [cfg.get(name) for name in ('model', 'test_dataloader', 'load_from')]
    text = json.dumps([score_thr, *parts], sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode())
    with open(task, 'rb') as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
