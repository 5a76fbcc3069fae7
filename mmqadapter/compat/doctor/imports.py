"""Packages that are installed but do not import."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from mmqadapter.compat.doctor.finding import Finding

# What is imported, and the remedy if that fails.
IMPORTS = {
    'torchvision': 'install the torchvision of your torch (https://pytorch.org/get-started)',
    'cv2': 'on a machine without a display: pip uninstall opencv-python, then '
    'pip install --force-reinstall opencv-python-headless',
    'mmcv': 'install an mmcv that fits your torch and mmengine',
    'mmdet.models': 'install versions that go together: mmdet 3.3 needs mmcv 2.1; '
    'onedl-mmdetection needs onedl-mmcv',
    'mmseg.models': 'install versions that go together: mmsegmentation 1.2 needs mmcv 2.1 and '
    'ftfy; onedl-mmsegmentation needs onedl-mmcv',
}


def import_findings() -> list[Finding]:
    """Import what is installed and return what fails, by the last line of its error."""
    findings = [_imported(name, remedy) for name, remedy in IMPORTS.items()]
    return [finding for finding in findings if finding]


def _imported(name: str, remedy: str) -> Finding | None:
    if find_spec(name.split('.')[0]) is None:
        return None
    try:
        import_module(name)
    except Exception as error:  # packages check one another with all kinds of errors
        text = ' '.join(str(error).split())
        return Finding(f'`import {name}` fails: {type(error).__name__}: {text}', remedy)
    return None
