"""Names and versions of the installed distributions that matter here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

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
    """Return by import name the installed distributions and their versions."""
    return {name: _versions(known) for name, known in DISTRIBUTIONS.items()}


def _versions(distributions: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for distribution in distributions:
        try:
            found[distribution] = version(distribution)
        except PackageNotFoundError:
            continue
    return found
