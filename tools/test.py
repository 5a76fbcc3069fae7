"""Evaluate a task file or a checkpoint: python tools/test.py CONFIG TASK_OR_CHECKPOINT."""

import sys

from mmqadapter.cli.test import main

if __name__ == '__main__':
    sys.exit(main())
