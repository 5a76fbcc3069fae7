"""Many tasks in memory on one loaded trunk."""

from mmqadapter.inference.bank.bank import TaskBank
from mmqadapter.inference.bank.shared_trunk import MultiTaskModel, runs_once

TasksTogether = MultiTaskModel  # the name in version 0.1.0

__all__ = ['TaskBank', 'MultiTaskModel', 'runs_once']
