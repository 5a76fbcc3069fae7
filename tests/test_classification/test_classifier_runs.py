"""An image classifier trains, is tested, predicts and is measured through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from class_images import COLORS, write_classes
from mmengine.config import Config
from mmengine.fileio import load
from PIL import Image

from mmqadapter import inspect_task
from mmqadapter.cli.main import main
from mmqadapter.own_data import Choices, new_config

pytest.importorskip('mmpretrain', reason='the extra cls is not installed')
CLASSES = tuple(COLORS)
TINY: dict[str, Any] = dict(
    type='mmqadapter.TimmBackbone',
    model_name='vit_tiny_patch16_224',
    embed_dim=32,
    depth=2,
    num_heads=2,
    out_indices=(1,),
)
ONE_BIT_HEAD = dict(type='mmqadapter.QuantizeTaskHook', bits={'head.fc': 1})


def save_weights(path: Path) -> None:
    """Save random weights of the tiny net."""
    names = ('embed_dim', 'depth', 'num_heads')
    net = timm.create_model(TINY['model_name'], **{name: TINY[name] for name in names})
    torch.save(net.state_dict(), path)


def tiny_config(folder: Path, method: str) -> Path:
    """Config of ``mmqadapter new`` with a tiny net of random weights and a 1-bit head."""
    root = folder / 'data'
    write_classes(root / 'train', 6)
    write_classes(root / 'val', 2, seed=1000)
    out = folder / 'task.py'
    new_config(root, out, Choices(method=method, iterations=40, batch=6))
    cfg = Config.fromfile(out)
    wrapper = cfg.model.backbone
    save_weights(folder / 'vit.pth')
    weights = {'checkpoint': str(folder / 'vit.pth')}
    wrapper.backbone = {
        **TINY,
        **weights,
        **({} if method == 'highway' else {'out_type': 'cls_token'}),
    }
    cfg.model.head.in_channels = 32
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    cfg.optim_wrapper.optimizer.lr = 1e-2
    cfg.custom_hooks = [*cfg.custom_hooks, ONE_BIT_HEAD]
    cfg.work_dir = str(folder / 'work')
    cfg.dump(out)
    return out


@pytest.fixture(scope='module', params=['adapter', 'highway'])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished training: ``data``, ``task.py``, ``work``."""
    folder = tmp_path_factory.mktemp(request.param)
    assert main(['train', str(tiny_config(folder, request.param))]) == 0
    return folder


def task(run: Path) -> str:
    return str(run / 'work' / 'best.task.safetensors')


def test_the_task_file_has_the_classes_and_a_head_of_one_bit(run: Path) -> None:
    content = inspect_task(task(run))
    assert content['dataset']['classes'] == list(CLASSES)
    # 3 x 32 codes of 1 bit, mean and std of 3 outputs in 16 bits, 3 biases of 16 bits.
    assert content['bytes']['head'] == 3 * 32 // 8 + 3 * 2 * 2 + 3 * 2


@pytest.mark.parametrize('options', [[], ['--tta']])
def test_it_learned_the_colors(run: Path, options: list[str]) -> None:
    out, folder = run / 'results.pkl', run / 'test'
    paths = ['--out', str(out), '--work-dir', str(folder), *options]
    assert not main(['test', str(run / 'task.py'), task(run), *paths])
    (scores,) = folder.rglob('*.json')
    assert json.loads(scores.read_text())['accuracy/top1'] == 100
    assert len(load(out)) == 6
    shutil.rmtree(folder)


def test_pictures_of_a_test_are_refused(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(['test', str(run / 'task.py'), task(run), '--show-dir', str(run / 'shown')]) == 1
    assert 'use mmqadapter predict' in capsys.readouterr().err


def test_prediction_writes_names_scores_and_pictures(run: Path) -> None:
    out = run / 'predicted'
    arguments = [str(run / 'task.py'), task(run), f'{run}/data/val/*/*.png', '--out', str(out)]
    assert main(['predict', *arguments]) == 0
    content = json.loads((out / 'classes.json').read_text())
    assert content['classes'] == list(CLASSES)
    assert len(content['images']) == 6
    for entry in content['images']:
        best, *others = entry['classes']
        assert best['name'] == CLASSES[best['index']] == Path(entry['file_name']).parent.name
        assert best['score'] >= others[0]['score'] >= others[1]['score']
        assert sum(found['score'] for found in entry['classes']) == pytest.approx(1, abs=1e-5)
        assert (entry['width'], entry['height']) == (32, 32)
    assert len(list((out / 'classes').rglob('*.json'))) == 6
    pictures = list((out / 'overlays').rglob('*.png'))
    assert len(pictures) == 6
    picture = np.asarray(Image.open(pictures[0]))
    assert picture.shape == (384, 384, 3)
    assert main(['predict', *arguments, '--resume']) == 0


def test_data_are_checked(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(['check-data', str(run / 'task.py')]) == 0
    assert '18 train, 6 val images: 0 errors, 0 warnings.' in capsys.readouterr().out


def test_another_task_is_distilled_from_it(run: Path) -> None:
    cfg = Config.fromfile(run / 'task.py')
    cfg.custom_hooks.append(
        dict(
            type='mmqadapter.DistillationHook',
            config=str(run / 'task.py'),
            weights=task(run),
            layer='head.fc',
        )
    )
    cfg.train_cfg.max_iters = 4
    cfg.dump(run / 'distilled.py')
    folder = run / 'distilled'
    assert main(['train', str(run / 'distilled.py'), '--work-dir', str(folder)]) == 0
    assert 'loss_distillation' in next(folder.rglob('scalars.json')).read_text()
    content = [inspect_task(path) for path in (task(run), folder / 'last.task.safetensors')]
    assert content[0]['bytes'] == content[1]['bytes']


def test_it_is_measured(run: Path) -> None:
    options = ['--methods', 'full,frozen,adaptformer@1', '--steps', '1', '--warm-up', '0']
    size = ['--batch-size', '2', '--image-size', '32', '--out', str(run / 'bench')]
    assert main(['benchmark', str(run / 'task.py'), *options, *size]) == 0
    rows = json.loads((run / 'bench' / 'report.json').read_text())['rows']
    assert [row['note'] for row in rows] == [None, None, None]
    full, frozen, adapted = (row['trainable_backbone_params'] for row in rows)
    assert full > adapted > frozen == 0
