"""The index of shipped configs, which mim reads: complete, and with the measured results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from mmengine.config import Config

from mmqadapter.engine.runner import load_config
from mmqadapter.studies.sweep.plan import read_sweep

ROOT = Path(__file__).resolve().parents[1]
INDEX = yaml.safe_load((ROOT / 'configs/metafile.yml').read_text())
MEASURED = [model for model in INDEX['Models'] if 'Results' in model]
# Method of the sweep that has the backbone of a config.
METHODS = {
    'full': 'full',
    'frozen': 'frozen',
    'qadapter': 'adaptformer-64@1',
    'highway-published': 'highway@1',
    'highway': 'highway-joined-64@1',
}


def test_all_configs_are_listed_once() -> None:
    listed = [model['Config'] for model in INDEX['Models']]
    files = [*ROOT.glob('configs/*.py'), *ROOT.glob('configs/zoo/*.py')]
    shipped = [str(path.relative_to(ROOT)) for path in files if not path.stem.startswith('demo_')]
    assert sorted(listed) == sorted(shipped)
    assert all(model['Name'] == Path(model['Config']).stem for model in INDEX['Models'])
    assert yaml.safe_load((ROOT / 'model-index.yml').read_text()) == {
        'Import': ['configs/metafile.yml']
    }


def test_collections_exist() -> None:
    collections = {collection['Name']: collection for collection in INDEX['Collections']}
    assert {model['In Collection'] for model in INDEX['Models']} == set(collections)
    for collection in collections.values():
        assert (ROOT / collection['README']).is_file()
        assert (ROOT / collection['Code']['URL']).is_dir()
        citation = ' '.join((ROOT / 'CITATION.cff').read_text().split())
        assert collection['Paper']['URL'] in citation and collection['Paper']['Title'] in citation


def backbone(config: dict[str, Any]) -> dict[str, Any]:
    """A backbone without what is a default or does not change results."""
    content = Config(config).to_dict()
    content.get('adapter', {}).setdefault('bias', False)
    return {k: v for k, v in content.items() if k != 'trunk' and (k, v) != ('train', ())}


@pytest.mark.parametrize('model', MEASURED, ids=lambda model: model['Name'])
def test_results_are_those_of_the_report(model: dict[str, Any]) -> None:
    _, _, method, data = model['Name'].split('_')
    sweep = f'{data}_paired'
    report = json.loads((ROOT / f'benchmarks/results/sweep_{sweep}/report.json').read_text())
    (row,) = (row for row in report['rows'] if row['method'] == METHODS[method])
    measured = read_sweep(ROOT / f'configs/sweeps/{sweep}.yaml').methods[METHODS[method]]
    own = load_config(ROOT / model['Config']).model.backbone
    assert backbone(measured.backbone) == backbone(own)
    (score,) = model['Results'][0]['Metrics'].values()
    assert score == round(row['score_mean'], 1)
    assert model['Metadata'] == {
        'Activation Memory (MB)': round(row['saved_for_backward_bytes'] / 1e6),
        'Task File (bytes)': row['task_bytes'],
    }


def test_something_is_measured() -> None:
    assert len(MEASURED) == 9
