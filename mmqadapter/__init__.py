"""Low-bit adapters for frozen backbones of OpenMMLab: one small file per dense-vision task."""

from mmqadapter import backbones, datasets, hooks, optim
from mmqadapter.checkpoint_file import guard_mmengine
from mmqadapter.compat import find_configs_by_module, let_fsdp_resume
from mmqadapter.taskbank import TaskBank
from mmqadapter.taskfile import inspect_task, load_task, save_task
from mmqadapter.version import __version__

find_configs_by_module()
guard_mmengine()
let_fsdp_resume()

__all__ = [
    'TaskBank',
    '__version__',
    'backbones',
    'datasets',
    'hooks',
    'inspect_task',
    'load_task',
    'optim',
    'save_task',
]
