from __future__ import annotations

from tiny_runs import fresh_globals

__all__ = ['fresh_globals']
