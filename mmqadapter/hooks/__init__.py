"""Hooks of mmengine's runner: costs, exact resume, checks, quantization and task files."""

from mmqadapter.hooks.distillation_hook import DistillationHook
from mmqadapter.hooks.efficiency_hook import EfficiencyHook, TuningSummaryHook
from mmqadapter.hooks.exact_resume_hook import ExactResumeHook
from mmqadapter.hooks.finite_loss_hook import FiniteLossHook
from mmqadapter.hooks.init_task_hook import InitTaskHook
from mmqadapter.hooks.learning_rates_hook import LearningRatesHook
from mmqadapter.hooks.missing_gradient_hook import MissingGradientHook
from mmqadapter.hooks.pretrained_trunk_hook import PretrainedTrunkHook
from mmqadapter.hooks.quantize_task_hook import QuantizeTaskHook
from mmqadapter.hooks.stop_hook import StopHook
from mmqadapter.hooks.task_checkpoint_hook import TaskCheckpointHook

__all__ = [
    'DistillationHook',
    'EfficiencyHook',
    'ExactResumeHook',
    'FiniteLossHook',
    'InitTaskHook',
    'LearningRatesHook',
    'MissingGradientHook',
    'PretrainedTrunkHook',
    'QuantizeTaskHook',
    'StopHook',
    'TaskCheckpointHook',
    'TuningSummaryHook',
]
