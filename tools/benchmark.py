"""Measure the cost of tuning methods: python tools/benchmark.py CONFIG --out DIR."""

import sys

from mmqadapter.cli.benchmark import main

if __name__ == '__main__':
    sys.exit(main())
