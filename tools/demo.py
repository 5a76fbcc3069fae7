"""Adapt a small model to generated images with 1-bit adapters: python tools/demo.py."""

import sys

from mmqadapter.cli.demo import main

if __name__ == '__main__':
    sys.exit(main())
