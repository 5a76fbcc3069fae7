from __future__ import annotations

from pathlib import Path

import pytest
from reports import make_report

from mmqadapter.studies.benchmark.report import write_report


@pytest.fixture(scope='session')
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the report of :func:`reports.make_report`."""
    folder = tmp_path_factory.mktemp('report')
    write_report(make_report(), folder)
    return folder
