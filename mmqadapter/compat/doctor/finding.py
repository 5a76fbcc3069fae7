"""One thing that ``mmqadapter doctor`` has found."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """A fact about the installation, and what to do.

    Attributes:
        fact: What is installed or missing.
        remedy: What to do, with the command.
        conflict: Whether something does not work; otherwise it is only good to know.
    """

    fact: str
    remedy: str
    conflict: bool = True
