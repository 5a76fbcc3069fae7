"""Files of released tasks of a tiny net."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from released import TINY, make_bytes, settings_of

from mmqadapter.interop.petl_vit.settings import NETS

Released = tuple[Path, Path]


@pytest.fixture(autouse=True)
def tiny_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a small trunk to those of the release."""
    monkeypatch.setitem(NETS, 'tiny', TINY)


@pytest.fixture
def release(tmp_path: Path) -> Callable[..., Released]:
    """``release(**changes)``: paths of the two files of a task of the tiny net."""

    def write(data: bytes | None = None, **changes: Any) -> Released:
        settings = settings_of(**changes)
        binary, text = tmp_path / 'toy.bin', tmp_path / 'toy.yaml'
        binary.write_bytes(make_bytes(settings) if data is None else data)
        text.write_text(yaml.safe_dump(settings))
        return binary, text

    return write
