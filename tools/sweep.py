"""Train methods x seeds x learning rates: python tools/sweep.py SWEEP.yaml --out DIR."""

import sys

from mmqadapter.cli.sweep import main

if __name__ == '__main__':
    sys.exit(main())
