"""Task files: their format, saving and loading, and the fingerprint of the trunk."""

from mmqadapter.taskfile.fingerprint import fingerprint
from mmqadapter.taskfile.task import inspect_task, load_task, save_task

__all__ = ['fingerprint', 'inspect_task', 'load_task', 'save_task']
