"""Hooks for mmengine's runner."""

from mmqadapter.hooks.atomic_backend import AtomicBackend
from mmqadapter.hooks.efficiency_hook import EfficiencyHook
from mmqadapter.hooks.exact_resume_hook import ExactResumeHook
from mmqadapter.hooks.finite_loss_hook import FiniteLossHook
from mmqadapter.hooks.init_task_hook import InitTaskHook
from mmqadapter.hooks.pretrained_trunk_hook import PretrainedTrunkHook
from mmqadapter.hooks.quantize_task_hook import QuantizeTaskHook
from mmqadapter.hooks.task_checkpoint_hook import TaskCheckpointHook
from mmqadapter.hooks.tuning_summary_hook import TuningSummaryHook

__all__ = [
    'AtomicBackend',
    'EfficiencyHook',
    'ExactResumeHook',
    'FiniteLossHook',
    'InitTaskHook',
    'PretrainedTrunkHook',
    'QuantizeTaskHook',
    'TaskCheckpointHook',
    'TuningSummaryHook',
]
