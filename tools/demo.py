"""Pretrain on one generated domain, adapt to another with 1-bit adapters, compare, draw."""

import sys

from mmqadapter.cli.demo import main

if __name__ == '__main__':
    sys.exit(main())
