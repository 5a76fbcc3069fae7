"""A repair of mmengine that configs need."""

from __future__ import annotations

from mmengine.config.utils import MODULE2PACKAGE


def find_configs_by_module() -> None:
    """Let ``_base_ = 'mmseg::...'`` find the configs of whatever package provides ``mmseg``.

    mmengine asks for a distribution called ``mmsegmentation``, which the onedl line is not. The
    module's own name serves for both.
    """
    MODULE2PACKAGE['mmseg'] = 'mmseg'
