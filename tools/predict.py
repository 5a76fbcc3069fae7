"""Predict with task files: python tools/predict.py CONFIG TASK_FILE... IMAGES... --out DIR."""

import sys

from mmqadapter.cli.predict import main

if __name__ == '__main__':
    sys.exit(main())
