"""File backend of mmengine that writes files atomically."""

from __future__ import annotations

from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from mmqadapter.utils.atomic import atomic_write

BACKEND = 'mmqadapter_atomic'


@register_backend(BACKEND)
class AtomicBackend(LocalBackend):
    """File backend for local files that :func:`mmqadapter.utils.atomic.atomic_write` writes.

    Select it with ``backend_args=dict(backend='mmqadapter_atomic')``.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write the bytes ``obj``."""
        atomic_write(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write the text ``obj``."""
        atomic_write(filepath, obj.encode(encoding))
