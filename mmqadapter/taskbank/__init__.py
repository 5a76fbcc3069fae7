"""Many tasks on one loaded trunk."""

from mmqadapter.taskbank.bank import TaskBank

__all__ = ['TaskBank']
