"""Train a config of mmdetection or mmsegmentation: python tools/train.py CONFIG."""

import sys

from mmqadapter.cli.train import main

if __name__ == '__main__':
    sys.exit(main())
