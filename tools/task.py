"""Inspect, check and write task files: python tools/task.py inspect|verify|export|... --help."""

import sys

from mmqadapter.cli.task import main

if __name__ == '__main__':
    sys.exit(main())
