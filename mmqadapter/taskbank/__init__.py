"""Many tasks on one loaded trunk."""

from mmqadapter.taskbank.bank import TaskBank
from mmqadapter.taskbank.together import TasksTogether, runs_once

__all__ = ['TaskBank', 'TasksTogether', 'runs_once']
