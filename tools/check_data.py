"""Check the data of a config before training: python tools/check_data.py CONFIG."""

import sys

from mmqadapter.cli.check_data import main

if __name__ == '__main__':
    sys.exit(main())
