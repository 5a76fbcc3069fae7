"""The command ``python -m mmqadapter``, which is the command ``mmqadapter``."""

import sys

from mmqadapter.cli.main import main

if __name__ == '__main__':
    sys.exit(main())
