"""Names and versions of the installed distributions that matter here."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

# By import name: the distributions that provide it.
DISTRIBUTIONS = {
    'torch': ('torch',),
    'torchvision': ('torchvision',),
    'numpy': ('numpy',),
    'cv2': (
        'opencv-python',
        'opencv-python-headless',
        'opencv-contrib-python',
        'opencv-contrib-python-headless',
    ),
    'timm': ('timm',),
    'mmengine': ('mmengine', 'mmengine-lite', 'onedl-mmengine'),
    'mmcv': ('mmcv', 'mmcv-lite', 'onedl-mmcv'),
    'mmdet': ('mmdet', 'onedl-mmdetection'),
    'mmseg': ('mmsegmentation', 'onedl-mmsegmentation'),
    'onnx': ('onnx',),
    'peft': ('peft',),
    'ray': ('ray',),
    'torchao': ('torchao',),
}


def installed() -> dict[str, dict[str, str]]:
    """Return by import name the installed distributions and their versions.

    Of distributions in several folders of ``sys.path``, the first folder counts, as for imports.
    """
    return {name: _versions(known) for name, known in DISTRIBUTIONS.items()}


def _versions(names: tuple[str, ...]) -> dict[str, str]:
    found = {name: known for name in names if (known := _find(name))}
    places = {name: _place(known) for name, known in found.items()}
    first = min(places.values(), default=0)
    return {name: known.version for name, known in found.items() if places[name] == first}


def _find(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _place(known: Distribution) -> int:
    """Return the index of a distribution's folder in ``sys.path``."""
    folder = Path(str(known.locate_file('')))
    folders = [Path(entry) for entry in sys.path]
    return folders.index(folder) if folder in folders else len(folders)
