"""On PYTHONPATH of a child process: mmcv has no compiled operators there, even if it has."""

import sys
from importlib.abc import MetaPathFinder


class NoOperators(MetaPathFinder):
    """Finder that lets nobody but mmqadapter answer for ``mmcv._ext``."""

    def find_spec(self, fullname, path, target=None):
        if fullname != 'mmcv._ext':
            return None
        for finder in sys.meta_path:
            if type(finder).__name__ == 'ReplacementFinder':
                return finder.find_spec(fullname, path, target)
        raise ModuleNotFoundError("No module named 'mmcv._ext'", name='mmcv._ext')


sys.meta_path.insert(0, NoOperators())
