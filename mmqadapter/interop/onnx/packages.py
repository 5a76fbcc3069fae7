"""The packages that exporting needs, and the rest of this package does not."""

from __future__ import annotations

from importlib.util import find_spec

PACKAGES = ('onnx', 'onnxscript', 'onnxruntime')


def require_packages() -> None:
    """Check that they are installed, before any model is built.

    Raises:
        ValueError: One is not.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise ValueError(
            f'ONNX export needs {", ".join(missing)}, which is not installed: '
            f"pip install '.[onnx]' in a clone, or pip install {' '.join(missing)}."
        )
