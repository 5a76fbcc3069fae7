"""Two repairs of mmengine: one that configs need, one that resuming needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.config.utils import MODULE2PACKAGE


def find_configs_by_module() -> None:
    """Let ``_base_ = 'mmseg::...'`` find the configs of whatever package provides ``mmseg``.

    mmengine asks for a distribution called ``mmsegmentation``, which the onedl line is not. The
    module's own name serves for both.
    """
    MODULE2PACKAGE['mmseg'] = 'mmseg'


def read_checkpoints_safely() -> None:
    """Let mmengine resume from its own checkpoints without falling back to unsafe pickle.

    Its list of harmless types lacks the dtypes of the numbers that its message hub logs.
    """
    dtypes: list[Any] = [kind for kind in vars(np.dtypes).values() if isinstance(kind, type)]
    torch.serialization.add_safe_globals(dtypes)
