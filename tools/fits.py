"""Foretell which tuning methods fit into a GPU: python tools/fits.py CONFIG --memory 11GB."""

import sys

from mmqadapter.cli.fits import main

if __name__ == '__main__':
    sys.exit(main())
