"""Try task files in a browser: python tools/serve.py CONFIG TASK_FILE..."""

import sys

from mmqadapter.cli.serve import main

if __name__ == '__main__':
    sys.exit(main())
