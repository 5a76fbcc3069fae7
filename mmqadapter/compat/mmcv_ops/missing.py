"""The error of an operator that has no replacement."""

from __future__ import annotations


def missing(operator: str) -> NotImplementedError:
    """Return the error that names the missing operator and the remedy."""
    return NotImplementedError(
        f'mmcv has no compiled operators here, and mmqadapter does not replace {operator!r}: '
        'install mmcv with its operators (`mmqadapter doctor` says how), or use a model that '
        'does not call it.'
    )
