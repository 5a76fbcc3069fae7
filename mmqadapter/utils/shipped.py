"""Configs and sweep files that are installed with the package, by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
# An installed package has its own copy. A clone has links, or text files on a system without links.
FOLDERS = (PACKAGE / '.mim' / 'configs', PACKAGE.parent / 'configs')
# What may precede the name of a shipped config: its folder in a clone, our scope in `_base_`.
SCOPE = 'mmqadapter::'
PREFIXES = ('configs/', SCOPE)
FRAGMENTS = '_base_'  # folder of parts, which build nothing by themselves


def configs_folder() -> Path:
    """Return the folder of the shipped configs.

    Raises:
        FileNotFoundError: The package is installed without them.
    """
    for folder in FOLDERS:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f'{str(FOLDERS[0])!r} does not exist: the installed mmqadapter is not complete; '
        'install it again.'
    )


def find_config(name: str | os.PathLike) -> Path:
    """Return the path of a config that is a file, or shipped under ``name``.

    Args:
        name: Path of a file, which comes first; or the name of a shipped config with or without its
            folder and ``.py``, such as ``upernet_swin_highway_ade20k`` or
            ``configs/zoo/upernet_swin-b_160k_ade20k.py``.

    Raises:
        FileNotFoundError: Neither exists.
    """
    return _find(name, '.py', 'config')


def find_base(name: str) -> Path:
    """Return the path of a shipped config, or of a part of one, by its path among them.

    Args:
        name: Such as ``mmqadapter::_base_/methods/highway.py``, as ``_base_`` of a config names it.

    Raises:
        FileNotFoundError: There is none of this name.
    """
    path = configs_folder() / name.removeprefix(SCOPE)
    return path if path.is_file() else _find_shipped(name, '.py', 'config')


def find_sweep(name: str | os.PathLike) -> Path:
    """Return the path of a sweep file, in the way of :func:`find_config`.

    Raises:
        FileNotFoundError: Neither a file nor a shipped sweep file has this name.
    """
    return _find(name, '.yaml', 'sweep file')


def _find(name: str | os.PathLike, suffix: str, kind: str) -> Path:
    path = Path(name)
    return path if path.is_file() else _find_shipped(name, suffix, kind)


def _find_shipped(name: str | os.PathLike, suffix: str, kind: str) -> Path:
    wanted = Path(name).as_posix()
    for prefix in PREFIXES:
        wanted = wanted.removeprefix(prefix)
    wanted = wanted.removesuffix(suffix) + suffix
    shipped = list(_shipped(suffix))
    for path in shipped:
        if wanted in (path.name, path.relative_to(configs_folder()).as_posix()):
            return path
    advice = f'expected a file, or the name of one in {str(configs_folder())!r}.'
    if similar := get_close_matches(Path(wanted).stem, [path.stem for path in shipped], cutoff=0.7):
        advice = f'did you mean {" or ".join(similar)}?'
    raise FileNotFoundError(f'there is no {kind} {str(name)!r}; {advice}')


def _shipped(suffix: str) -> Iterator[Path]:
    for path in sorted(configs_folder().glob(f'**/*{suffix}')):
        if FRAGMENTS not in path.parts:
            yield path
