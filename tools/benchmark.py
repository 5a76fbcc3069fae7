"""Measure what tuning methods cost: python tools/benchmark.py CONFIG --methods LIST --out DIR."""

import sys

from mmqadapter.cli.benchmark import main

if __name__ == '__main__':
    sys.exit(main())
