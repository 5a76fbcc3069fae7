"""Reports are rebuilt from report.json alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reports import make_report

from mmqadapter.studies.benchmark import report as benchmark
from mmqadapter.studies.report.files import write_json
from mmqadapter.studies.sweep import report as sweep


def make_sweep_report() -> dict[str, Any]:
    """Report of a sweep with one method and made-up values."""
    header = {
        'sweep': 'tiny.yaml', 'config': 'tiny.py', 'command': 'python tools/sweep.py tiny.yaml',
        'metric': 'mIoU', 'memory': 'saved for backward',
        'failed': [{'training': 'seed_full', 'reason': 'it broke', 'log': 'console.log'}],
    }  # fmt: skip
    row = {
        'method': 'full', 'bits': None, 'note': None, 'group': 'backbone',
        'score_mean': 55.0, 'score_deviation': 1.0, 'scores': {'0': 54.0, '1': 56.0},
        'minus_frozen': None, 'minus_full': {'0': 0.0, '1': 0.0}, 'minus_32_bits': None,
        'head_rate': 0.1, 'rate': 0.01, 'tuning': [{'head_rate': 0.1, 'rate': 0.1, 'score': 50.0}],
        'trainable_backbone_params': 10, 'trainable_params': 20, 'adapter_bytes': None,
        'task_bytes': 80, 'saved_for_backward_bytes': 1000, 'peak_allocated_bytes': None,
        'step_seconds': 0.5, 'curves': {'0': [[1, 2.0], [2, 1.0]]}, 'validations': {'0': []},
    }  # fmt: skip
    return {'header': header, 'rows': [row]}


KINDS = {'benchmark': (benchmark, make_report), 'sweep': (sweep, make_sweep_report)}


@pytest.mark.parametrize('kind', KINDS)
def test_a_rebuilt_report_equals_the_written_one(tmp_path: Path, kind: str) -> None:
    module, make = KINDS[kind]
    written = module.write_report(make(), tmp_path / 'written')
    source = write_json(make(), tmp_path / 'rebuilt')
    stamp = source.stat().st_mtime_ns
    rebuilt = module.rebuild_report(tmp_path / 'rebuilt')
    assert [path.name for path in rebuilt] == [path.name for path in written[1:]]
    assert {'report.html', 'report.md'} < {path.name for path in rebuilt} and len(rebuilt) >= 10
    for path, other in zip(rebuilt, written[1:], strict=True):
        assert path.read_bytes() == other.read_bytes()
    assert source.stat().st_mtime_ns == stamp


@pytest.mark.parametrize('kind', KINDS)
def test_other_files_are_refused(tmp_path: Path, kind: str) -> None:
    module, _ = KINDS[kind]
    rebuild: Callable[[Path], list[Path]] = module.rebuild_report
    with pytest.raises(FileNotFoundError, match='report.json'):
        rebuild(tmp_path)
    (other,) = (make for name, (_, make) in KINDS.items() if name != kind)
    write_json(other(), tmp_path)
    with pytest.raises(
        ValueError, match=f'is not a report of mmqadapter {kind}: expected a header'
    ):
        rebuild(tmp_path)
    for text in ('[]', '{"header": {"metric": "mIoU", "batch": 2}}', '{"header": 3, "rows": [1]}'):
        (tmp_path / 'report.json').write_text(text)
        with pytest.raises(ValueError, match='is not a report of'):
            rebuild(tmp_path)
    (tmp_path / 'report.json').write_text('{')
    with pytest.raises(ValueError, match='report.json.* is not valid JSON'):
        rebuild(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['report.json']
