"""Many tasks on one loaded trunk."""

from mmqadapter.inference.bank.bank import TaskBank
from mmqadapter.inference.bank.shared_trunk import TasksTogether, runs_once

__all__ = ['TaskBank', 'TasksTogether', 'runs_once']
