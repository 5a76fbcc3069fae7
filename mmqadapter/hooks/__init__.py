"""Hooks for mmengine's runner."""

from mmqadapter.hooks.atomic_backend import AtomicBackend
from mmqadapter.hooks.exact_resume_hook import ExactResumeHook
from mmqadapter.hooks.task_checkpoint_hook import TaskCheckpointHook

__all__ = ['AtomicBackend', 'ExactResumeHook', 'TaskCheckpointHook']
