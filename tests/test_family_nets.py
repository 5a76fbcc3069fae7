"""One net of each family in benchmarks/backbone_cost.py, and the table of docs/performance.md."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import ConfigDict
from mmengine.registry import MODELS

from mmqadapter.backbones import FAMILIES

BENCHMARKS = Path(__file__).resolve().parent.parent / 'benchmarks'


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Names of the script, which imports the files beside it and registers a net."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield runpy.run_path(str(BENCHMARKS / 'backbone_cost.py'))
    del MODELS.module_dict['PeftBackbone']


def test_every_family_has_a_net(script: dict[str, Any]) -> None:
    assert list(script['FAMILY_NETS']) == [family.name for family in FAMILIES]
    assert set(script['LOW_RANK']) < set(script['FAMILY_NETS'])


def test_configs_are_of_the_family_and_of_the_size(script: dict[str, Any]) -> None:
    configs = script['shipped_configs']('timm MaxViT', 64)
    assert configs['full']['img_size'] == 64
    wrapped = MODELS.build(ConfigDict(configs[script['BESIDE']]))
    assert wrapped.family.name == 'timm MaxViT'
    assert wrapped.tuning_config['downsample'] == 'low-rank'
    assert wrapped.tuning_config['quantizer']['bits'] == 1


@pytest.mark.slow
@pytest.mark.parametrize('family', [family.name for family in FAMILIES])
def test_every_net_is_wrapped(script: dict[str, Any], family: str) -> None:
    configs = script['shipped_configs'](family, 256)
    wrapped = {name: MODELS.build(ConfigDict(cfg)) for name, cfg in configs.items()}
    del wrapped['full'], wrapped['frozen']
    assert wrapped and {net.family.name for net in wrapped.values()} == {family}


def test_the_table_of_rows(script: dict[str, Any]) -> None:
    (row,) = script['measure']('timm XCiT', {'full': _xcit(script)}, 1, 32, 1, 0)
    assert row['saved_for_backward_bytes_over_full'] == row['step_seconds_over_full'] == 1
    shares = dict(saved_for_backward_bytes_over_full=0.25, step_seconds_over_full=0.5)
    rows = [
        dict(row, method=name, **shares) for name in ('full', script['IN_PATH'], script['BESIDE'])
    ]
    count = row['trainable_backbone_params']
    (line,) = (line for line in script['family_table'](rows).splitlines() if 'XCiT' in line)
    cells = f'{count:,} | 0.25 | 0.50'
    assert line == f'| timm XCiT | XCiT-T12/16 | {count / 1e6:.1f} | {cells} | {cells} |'


def _xcit(script: dict[str, Any]) -> dict[str, Any]:
    return dict(script['shipped_configs']('timm XCiT', 32)['full'], depth=12, embed_dim=16)


def test_the_page_shows_the_report(script: dict[str, Any]) -> None:
    report, page = script['FAMILY_RESULTS'] / 'report.json', script['PAGE'].read_text('utf-8')
    assert script['BEGIN'] in page and script['END'] in page
    if not report.exists():
        pytest.skip('not measured yet')
    assert script['family_table'](json.loads(report.read_text())['rows']) in page
