"""Task files: format, fingerprint of the trunk, saving and loading."""

from mmqadapter.taskfile.fingerprint import fingerprint
from mmqadapter.taskfile.task import inspect_task, load_task, save_task

__all__ = ['fingerprint', 'inspect_task', 'load_task', 'save_task']
