"""Print versions and what does not go together: python tools/doctor.py."""

import sys

from mmqadapter.cli.doctor import main

if __name__ == '__main__':
    sys.exit(main())
