"""Starts training from a task file."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmqadapter.registry import HOOKS
from mmqadapter.taskfile import load_task
from mmqadapter.utils.sharding import trained_whole


@HOOKS.register_module()
class InitTaskHook(Hook):
    """Loads a task to go on training from, after the model's own initialisation.

    Args:
        task: Path of a ``*.task.safetensors``.
    """

    def __init__(self, task: str) -> None:
        self.task = task

    def before_train(self, runner: Runner) -> None:
        """Load the task, unless the run resumes a checkpoint.

        Raises:
            FileNotFoundError: No such file.
            ValueError: The file does not fit the model.
        """
        if runner._resume:
            return
        with trained_whole(runner.model) as model:
            load_task(model, self.task, trainable=True)
        runner.logger.info(f'Training starts from the task file {self.task}.')
