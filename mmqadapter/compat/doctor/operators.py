"""The operators of mmcv: compiled, replaced by ours, or compiled for another PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec

from mmqadapter.compat.doctor.finding import Finding
from mmqadapter.compat.mmcv_ops.finder import COMPILED, REPLACEMENT

COMPILE = 'pip install --no-build-isolation --no-cache-dir --force-reinstall --no-deps {}'
WITHOUT = {
    'mmcv': 'pip uninstall -y mmcv, then pip install --no-deps mmcv-lite=={version}',
    'mmcv-lite': 'pip install --force-reinstall --no-deps mmcv-lite=={version}',
    'onedl-mmcv': 'pip install --no-cache-dir --force-reinstall --no-deps onedl-mmcv=={version}',
}


def operators() -> str:
    """Return where the operators of mmcv come from, or why they do not load."""
    if find_spec('mmcv') is None:
        return 'no mmcv'
    try:
        extension = import_module(COMPILED)
    except Exception as error:  # an undefined symbol, a missing library
        return f'broken: {" ".join(str(error).split())}'
    return 'ours' if extension.__file__ == str(REPLACEMENT) else 'compiled'


def operators_findings(state: str, mmcv: Mapping[str, str]) -> list[Finding]:
    """Return what to do about the operators.

    Args:
        state: As :func:`operators` returns it.
        mmcv: Installed distributions of mmcv and their versions.
    """
    if state in ('compiled', 'no mmcv') or not mmcv:
        return []
    distribution, version = next(iter(mmcv.items()))
    compiled = COMPILE.format(f'{distribution}=={version}')
    if distribution == 'mmcv-lite':
        compiled = f'pip uninstall -y mmcv-lite, then {COMPILE.format(f"mmcv=={version}")}'
    if state == 'ours':
        fact = 'mmcv has no compiled operators; those of mmqadapter, on torchvision, step in'
        remedy = f'nothing; for operators that it misses, with a C++ compiler: {compiled}'
        return [Finding(fact, remedy, conflict=False)]
    fact = f"mmcv's operators were compiled for another torch ({state.removeprefix('broken: ')})"
    without = WITHOUT[distribution].format(version=version)
    return [Finding(fact, f'compile them again: {compiled}; or do without: {without}')]
