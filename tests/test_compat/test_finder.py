"""Our operators step in where mmcv has none, and only there."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import mmcv
import pytest

import mmqadapter  # noqa: F401  installs the finder
from mmqadapter.compat.mmcv_ops import install

TESTS = Path(__file__).parents[1]
COMPILED = any(Path(mmcv.__file__).parent.glob('_ext*'))
OURS = 'mmqadapter/compat/mmcv_ops/ext.py'


def without_operators(code: str) -> subprocess.CompletedProcess:
    """Run ``code`` in a process in which mmcv has no operators."""
    return subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'PYTHONPATH': prepended('without_operators')},
        capture_output=True,
        text=True,
    )


def prepended(folder: str) -> str:
    return os.pathsep.join([str(TESTS / folder), str(TESTS.parent), os.environ['PYTHONPATH']])


def test_steps_in_once_the_package_is_imported() -> None:
    """Imports in the order of mmdet's tools/train.py with custom_imports=['mmqadapter']."""
    code = """
import sys
from mmdet.utils import setup_cache_size_limit_of_dynamo
import mmqadapter
print([name for name in sys.modules if name.startswith('mmcv.ops')])
import mmdet.models, mmseg.models
print(sys.modules['mmcv._ext'].__file__)
"""
    run = without_operators(code)
    assert run.returncode == 0, run.stderr
    before, file = run.stdout.split()
    assert before == '[]'  # nothing is loaded before mmcv asks
    assert file.replace(os.sep, '/').endswith(OURS)


def test_without_the_package_mmdet_does_not_import() -> None:
    """What the replacement is for; if this fails, mmdet no longer needs the operators."""
    run = without_operators('import mmdet.models')
    assert "No module named 'mmcv._ext'" in run.stderr


@pytest.mark.skipif(not COMPILED, reason='mmcv has no compiled operators here')
def test_compiled_operators_win() -> None:
    assert Path(import_module('mmcv._ext').__file__).suffix in ('.so', '.pyd')


def test_a_broken_compiled_module_still_fails_with_its_own_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It must not be replaced in silence: the user believes it to be in use."""
    (tmp_path / '_ext.py').write_text("raise ImportError('undefined symbol: _ZN3c10')")
    monkeypatch.setattr(mmcv, '__path__', [str(tmp_path), *mmcv.__path__])
    monkeypatch.delitem(sys.modules, 'mmcv._ext', raising=False)
    with pytest.raises(ImportError, match='undefined symbol'):
        import_module('mmcv._ext')


def test_installing_twice_changes_nothing() -> None:
    before = list(sys.meta_path)
    install()
    assert sys.meta_path == before
