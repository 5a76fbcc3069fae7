"""Study trained adapters: python tools/analyze.py STUDY CONFIG TASK_FILE --out DIR."""

import sys

from mmqadapter.cli.analyze import main

if __name__ == '__main__':
    sys.exit(main())
