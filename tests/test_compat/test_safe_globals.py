"""The unpickler for PyTorch before 2.6 reads what mmengine writes, and refuses what runs code."""

from __future__ import annotations

import copyreg
import io
import os
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmqadapter.checkpoints.safe_load import allowed_globals
from mmqadapter.compat import safe_globals
from mmqadapter.compat.safe_globals import LimitedUnpickler

ALLOWED = dict(safe_globals._named(entry) for entry in allowed_globals())


def load(data: bytes) -> Any:
    kind = type('Unpickler', (LimitedUnpickler,), {'extra': ALLOWED})
    return kind(io.BytesIO(data)).load()


def refused(data: bytes, match: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match=match):
        load(data)


def test_what_mmengine_logs_can_be_read() -> None:
    log = HistoryBuffer([1.0, 2.0], [1, 1])
    content = OrderedDict(a=1, b=[np.float64(2.5), np.arange(3)], c={'d': b'bytes'}, log=log)
    loaded = load(pickle.dumps(content, 2))  # the protocol of torch.save
    assert loaded['b'][0] == 2.5 and loaded['b'][1].tolist() == [0, 1, 2]
    assert loaded['c'] == {'d': b'bytes'}
    assert loaded['log'].data[0].tolist() == [1.0, 2.0] and loaded['log'].mean() == 1.5


class Calls:
    """Object that is unpickled by a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize('function', [os.getcwd, eval, np.load, pickle.loads, __import__])
@pytest.mark.parametrize('protocol', [2, 4])
def test_other_functions_are_refused(function: Any, protocol: int) -> None:
    refused(pickle.dumps(Calls(function), protocol), 'GLOBAL .* is not allowed')


@pytest.mark.parametrize(
    ('owner', 'name'),
    [(np.ndarray, 'tofile'), (HistoryBuffer, '__init__'), (OrderedDict, 'fromkeys')],
)
def test_getattr_reaches_methods_of_log_buffers_alone(owner: Any, name: str) -> None:
    refused(pickle.dumps(Calls(getattr, owner, name), 2), 'getattr')


def test_a_file_cannot_change_a_class() -> None:
    refused(b'ccollections\nOrderedDict\n}X\x05\x00\x00\x00itemsK\x01sb.', 'state of no type')


def test_numbers_of_registered_globals_are_refused() -> None:
    copyreg.add_extension('os', 'getcwd', 0xF001)
    try:
        refused(b'\x80\x02\x83\x01\xf0.', 'extension code')
    finally:
        copyreg.remove_extension('os', 'getcwd', 0xF001)


def test_torch_load_uses_it_in_the_context(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_globals, 'TORCH', (2, 1))
    content = {'weight': torch.ones(2), 'log': HistoryBuffer([1.0], [1])}
    torch.save(content, tmp_path / 'x.pth')
    torch.save({'call': Calls(os.getcwd)}, tmp_path / 'bad.pth')
    stock = torch.serialization._weights_only_unpickler
    with safe_globals.safe_globals(allowed_globals()):
        loaded = torch.load(tmp_path / 'x.pth', weights_only=True)
        with pytest.raises(pickle.UnpicklingError, match='getcwd'):
            torch.load(tmp_path / 'bad.pth', weights_only=True)
    assert loaded['weight'].tolist() == [1, 1] and loaded['log'].mean() == 1
    assert torch.serialization._weights_only_unpickler is stock
