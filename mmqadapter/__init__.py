"""Low-bit adapters for frozen backbones of OpenMMLab: one small file per dense-vision task."""

from mmqadapter import backbones, engine, hooks
from mmqadapter.engine.compat import patch_mmengine
from mmqadapter.inference.bank import TaskBank
from mmqadapter.taskfile import inspect_task, load_task, save_task
from mmqadapter.version import __version__

patch_mmengine()

__all__ = [
    'TaskBank',
    '__version__',
    'backbones',
    'engine',
    'hooks',
    'inspect_task',
    'load_task',
    'save_task',
]
