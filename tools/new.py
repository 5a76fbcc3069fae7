"""Write a config for a folder of annotated images: python tools/new.py DATA."""

import sys

from mmqadapter.cli.new import main

if __name__ == '__main__':
    sys.exit(main())
