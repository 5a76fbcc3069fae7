"""Optional packages that the ONNX export needs."""

from __future__ import annotations

from importlib.util import find_spec

PACKAGES = ('onnx', 'onnxscript', 'onnxruntime')


def require_packages() -> None:
    """Check that the packages are installed, before any model is built.

    Raises:
        ValueError: At least one is missing.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise ValueError(
            f'ONNX export needs {", ".join(missing)}, which is not installed: '
            f"pip install 'mmqadapter[onnx]', or pip install {' '.join(missing)}."
        )
