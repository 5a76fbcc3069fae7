"""Short text of an error that another library raised."""

from __future__ import annotations


def root_cause(error: BaseException) -> str:
    """Return the first line of the error that caused ``error``, at the end of its chain."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or repr(error)).splitlines()[0]
