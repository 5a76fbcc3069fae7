"""Low-bit adapters for frozen backbones of OpenMMLab: one small file per dense-vision task."""

from mmqadapter import backbones, datasets, hooks
from mmqadapter.taskfile import inspect_task, load_task, save_task
from mmqadapter.version import __version__

__all__ = [
    '__version__',
    'backbones',
    'datasets',
    'hooks',
    'inspect_task',
    'load_task',
    'save_task',
]
