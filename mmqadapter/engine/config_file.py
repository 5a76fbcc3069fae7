"""Reading of config files; a fault of one is told with its file, its line and what is wrong."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

from mmengine.config import Config
from yaml import YAMLError  # type: ignore[import-untyped]

SUFFIXES = ('.py', '.yaml', '.yml', '.json')
# Functions of mmengine whose argument ``filename`` is the file that is read, not a copy of it.
READERS = ('_file2dict', '_is_lazy_import', '_parse_lazy_import')


def read_config(path: Path) -> Config:
    """Read a config file and those that it inherits.

    Raises:
        FileNotFoundError: A file that it inherits does not exist.
        ValueError: It is no config, or it or a file that it inherits cannot be read or run.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f'{str(path)!r} is not a config: expected one of {", ".join(SUFFIXES)}.')
    try:
        return Config.fromfile(path)
    except Exception as error:  # a config may raise anything
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(_message(path, error)) from error


def _message(path: Path, error: Exception) -> str:
    files = _files(path, error)
    missing = files.pop() if len(files) > 1 and not os.path.exists(files[-1]) else None
    line = _line(files[-1], error)
    where = f'config {files[-1]}{f", line {line}" if line else ""}'
    if missing is not None:
        return f'{where}: there is no {missing!r}, which its _base_ names.'
    return f'{where}: {_fault(error)}'


def _files(path: Path, error: Exception) -> list[str]:
    """Return the file that was being read, after those that inherit it."""
    files = [str(path)]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name in READERS:
            file = str(frame.f_locals['filename'])
            if os.path.abspath(file) != os.path.abspath(files[-1]):
                files.append(file)
    return files


def _line(file: str, error: Exception) -> int | None:
    """Return the number of the line at fault, from 1; None if it is not known."""
    mark = getattr(error, 'problem_mark', None)  # of YAML
    if mark is not None:
        return mark.line + 1
    if isinstance(error, UnicodeDecodeError):
        return error.object.count(b'\n', 0, error.start) + 1
    frames = traceback.walk_tb(error.__traceback__)
    lines = [line for frame, line in frames if _is_same(frame.f_code.co_filename, file)]
    return getattr(error, 'lineno', None) or (lines[-1] if lines else None)


def _is_same(file: str, other: str) -> bool:
    return os.path.abspath(file) == os.path.abspath(other)


def _fault(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f'byte 0x{error.object[error.start]:02x} is not UTF-8 text; save the file as UTF-8.'
    if isinstance(error, ImportError) and 'custom modules' in str(error):
        return (
            f'custom_imports fails ({_text(error.__cause__ or error)}); the folder of the module '
            'has to be in PYTHONPATH.'
        )
    if isinstance(error, YAMLError):
        return f'invalid YAML: {getattr(error, "problem", None) or _text(error)}.'
    if isinstance(error, RecursionError):
        return 'its _base_ leads back to itself.'
    return _text(error)


def _text(error: Any) -> str:
    """Return the text of an error, after its type unless the type says nothing."""
    if isinstance(error, KeyError) and error.args:
        text = str(error.args[0])  # without the quotes that str() adds
    else:
        text = getattr(error, 'msg', None) or str(error)  # of Python and JSON, without the place
    if isinstance(error, (OSError, ValueError)):
        return text
    return f'{type(error).__name__}: {text}' if text else f'{type(error).__name__}.'
