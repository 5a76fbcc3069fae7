"""Low-bit adapters for frozen backbones of OpenMMLab: one small file per dense-vision task."""

from mmqadapter import backbones, engine, hooks
from mmqadapter.compat import mmcv_ops
from mmqadapter.engine.compat import patch_mmengine
from mmqadapter.inference.bank import TaskBank
from mmqadapter.taskfile import inspect_task, load_task, save_task
from mmqadapter.utils.moved_modules import answer_for_moved_modules
from mmqadapter.version import __version__

# Import names of version 0.1.0 and the modules that replace them.
MOVED = {
    'mmqadapter.backbones.presets': 'mmqadapter.backbones.trainable',
    'mmqadapter.checks': 'mmqadapter.data_checks',
    'mmqadapter.onnx_export': 'mmqadapter.interop.onnx',
    'mmqadapter.petl_vit': 'mmqadapter.interop.petl_vit',
    'mmqadapter.taskbank': 'mmqadapter.inference.bank',
}

answer_for_moved_modules(MOVED)
mmcv_ops.install()
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
