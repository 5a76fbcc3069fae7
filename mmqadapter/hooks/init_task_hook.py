"""Start of a training from a task file."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmqadapter.registry import HOOKS
from mmqadapter.taskfile import load_task
from mmqadapter.utils.sharding import trained_whole


@HOOKS.register_module()
class InitTaskHook(Hook):
    """Hook that loads a task file before training, after the model has initialized its weights.

    Args:
        task: Path of a ``*.task.safetensors`` file.
    """

    def __init__(self, task: str) -> None:
        self.task = task

    def before_train(self, runner: Runner) -> None:
        """Load the task with weights that train on; do nothing if the run resumes a checkpoint.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: The file does not fit the model.
        """
        if runner._resume:
            return
        with trained_whole(runner.model) as model:
            load_task(model, self.task, trainable=True)
        runner.logger.info(f'Training starts from the task file {self.task}.')
