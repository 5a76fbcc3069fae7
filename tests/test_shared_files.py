"""A shared folder is made by the first caller, and again only if that failed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from shared_files import made_once


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Temporary folders of a test run of one worker."""
    monkeypatch.delenv('PYTEST_XDIST_WORKER', raising=False)
    return SimpleNamespace(getbasetemp=lambda: tmp_path)


def test_later_callers_get_the_folder_of_the_first(factory: Any) -> None:
    folder = made_once(factory, 'runs', lambda folder: (folder / 'a').write_text('first'))
    again = made_once(factory, 'runs', lambda folder: pytest.fail('made twice'))
    assert again == folder and (folder / 'a').read_text() == 'first'


def test_what_failed_is_made_again_from_nothing(factory: Any) -> None:
    def fail(folder: Path) -> None:
        (folder / 'half').touch()
        raise RuntimeError('interrupted')

    with pytest.raises(RuntimeError, match='interrupted'):
        made_once(factory, 'runs', fail)
    folder = made_once(factory, 'runs', lambda folder: (folder / 'whole').touch())
    assert [path.name for path in folder.iterdir()] == ['whole']


def test_all_workers_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PYTEST_XDIST_WORKER', 'gw0')
    made = []
    for worker in ('gw0', 'gw1'):
        factory: Any = SimpleNamespace(getbasetemp=lambda worker=worker: tmp_path / worker)
        made_once(factory, 'runs', made.append)
    assert len(made) == 1 and made[0].is_relative_to(tmp_path / 'shared')
