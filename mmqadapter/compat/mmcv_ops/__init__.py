"""Replacements of mmcv's compiled operators, for an mmcv that was installed without them."""

from mmqadapter.compat.mmcv_ops.finder import install

__all__ = ['install']
