"""A released task in a config of mmpretrain, on images laid out as the archive of VTAB-1K."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import load
from PIL import Image
from released import TINY
from tiny_runs import ROOT

from mmqadapter import inspect_task
from mmqadapter.backbones.timm_net import build_timm
from mmqadapter.cli.main import main
from mmqadapter.inference import load_model
from mmqadapter.interop.petl_vit import import_petl_into, load_petl

pytest.importorskip('mmpretrain', reason='the extra cls is not installed')
Release = Callable[..., tuple[Path, Path]]
TASK, CLASSES, IMAGES = 'diabetic_retinopathy', 5, 12
RELEASED = ('bin', 'yaml')
ONE_WIDE = dict(width=1, scale=1.0)
SHIPPED = ROOT / 'configs/classification/vit-b_qadapter_vtab-1k.py'


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    config: dict[str, Any] = dict(TINY.config)
    net = build_timm(**config)
    for parameter in net.parameters():  # so that images matter
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    torch.save(net.state_dict(), tmp_path / 'trunk.pth')
    return tmp_path / 'trunk.pth'


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a task, without lists."""
    monkeypatch.setenv('MMQADAPTER_DATA', str(tmp_path))
    monkeypatch.setenv('VTAB_TASK', TASK)
    folder = tmp_path / 'vtab-1k' / TASK
    (folder / 'images').mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(IMAGES):
        pixels = random.integers(0, 256, (4, 4, 3), np.uint8).repeat(10, 0).repeat(14, 1)
        Image.fromarray(pixels).save(folder / 'images' / f'{number}.png')
    return folder


def config(folder: Path, weights: Path, binary: bool = False, **adapter: Any) -> Path:
    """The shipped config with the tiny net."""
    net = {**TINY.config, 'checkpoint': str(weights), 'pretrained': False, 'out_indices': (2,)}
    head: dict[str, Any] = dict(in_channels=16)
    imports = ['mmqadapter']
    if binary:
        head.update(type='mmqadapter.PackedClsHead')
        imports.append('mmqadapter.interop.petl_vit.packed_head')
    cfg = Config.fromfile(SHIPPED)
    cfg.merge_from_dict(
        dict(
            custom_imports=dict(imports=imports),
            model=dict(
                backbone=dict(backbone=net, adapter=dict(width=4, scale=0.1, **adapter)), head=head
            ),
            work_dir=str(folder / 'work'),
        )
    )
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    cfg.dump(folder / 'task.py')
    return folder / 'task.py'


def released_logits(files: tuple[Path, Path], weights: Path, archive: Path) -> torch.Tensor:
    """What the release computes for each image of the archive."""
    trunk = dict(checkpoint=str(weights))
    images = [Image.open(archive / 'images' / f'{number}.png') for number in range(IMAGES)]
    resized = [np.asarray(image.resize((224, 224), Image.BICUBIC)) for image in images]
    batch = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        return load_petl(*files, trunk)(batch)


@pytest.mark.parametrize('method', ['adaptformer', 'adaptformer-bihead'])
def test_it_is_tested_in_a_config(
    release: Release, weights: Path, archive: Path, tmp_path: Path, method: str
) -> None:
    files = release(method=method, num_class=CLASSES, scale=0.1)
    logits = released_logits(files, weights, archive)
    labels = logits.argmax(1).tolist()
    labels[0] = (labels[0] + 1) % CLASSES  # one image is wrong
    lines = [f'images/{number}.png {label}\n' for number, label in enumerate(labels)]
    (archive / 'test.txt').write_text(''.join(lines))
    (archive / 'train800val200.txt').write_text(''.join(lines))
    path = config(tmp_path, weights, method.endswith('bihead'))
    task = tmp_path / 'toy.task.safetensors'
    arguments = [*map(str, files), '--out', str(task), '--config', str(path)]
    assert main(['task', 'import-petl', *arguments]) == 0
    options = ['--work-dir', str(tmp_path / 'test'), '--out', str(tmp_path / 'results.pkl')]
    assert not main(['test', str(path), str(task), *options])
    predicted = torch.stack([result['pred_score'] for result in load(tmp_path / 'results.pkl')])
    torch.testing.assert_close(predicted, logits.softmax(1), rtol=1e-3, atol=1e-4)
    assert predicted.std(0).max() > 1e-3  # ten times the tolerance
    (scores,) = (tmp_path / 'test').rglob('*.json')
    score = json.loads(scores.read_text())['accuracy/top1']
    assert score == pytest.approx(100 * (IMAGES - 1) / IMAGES, abs=0.01)
    exported = tmp_path / 'again.bin', tmp_path / 'again.yaml'
    assert main(['task', 'export-petl', str(task), *map(str, exported)]) == 0
    assert [file.read_bytes() for file in exported] == [file.read_bytes() for file in files]


def test_logits_equal_those_of_the_release(
    release: Release, weights: Path, archive: Path, tmp_path: Path
) -> None:
    files, task = release(num_class=CLASSES, scale=0.1), tmp_path / 'toy.task.safetensors'
    path = config(tmp_path, weights)
    import_petl_into(*files, path, task)
    model: Any = load_model(path, task)
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = load_petl(*files, dict(checkpoint=str(weights)))(images)
        torch.testing.assert_close(model(images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_file_of_the_release_is_tested_in_the_shipped_config(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the docs say; the trunk is a ViT-B of random weights and small MLPs."""
    binary, text = (real_data / f'petl_vit/adaptformer/dtd-bit1-dim1.{end}' for end in RELEASED)
    if not binary.is_file():
        pytest.skip(f'real data: no {binary}')
    monkeypatch.setenv('MMQADAPTER_DATA', str(tmp_path))
    monkeypatch.setenv('VTAB_TASK', 'dtd')
    folder = tmp_path / 'vtab-1k' / 'dtd'
    (folder / 'images').mkdir(parents=True)
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / 'images' / '0.png')
    net: dict[str, Any] = dict(model_name='vit_base_patch16_224', mlp_ratio=0.01)
    torch.save(build_timm(**net).state_dict(), tmp_path / 'trunk.pth')
    released = load_petl(binary, text, dict(mlp_ratio=0.01, checkpoint=str(tmp_path / 'trunk.pth')))
    with torch.no_grad():
        label = int(released(torch.zeros(1, 3, 224, 224)).argmax())
    for name in ('test.txt', 'train800val200.txt'):
        (folder / name).write_text(f'images/0.png {label}\n')
    trunk = dict(net, checkpoint=str(tmp_path / 'trunk.pth'), pretrained=False)
    cfg = Config.fromfile(SHIPPED)
    cfg.merge_from_dict(dict(model=dict(backbone=dict(backbone=trunk, adapter=ONE_WIDE))))
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.dump(tmp_path / 'task.py')
    config, task = str(tmp_path / 'task.py'), str(tmp_path / 'dtd.task.safetensors')
    files = [str(binary), str(text), '--out', task, '--config', config]
    assert main(['task', 'import-petl', *files]) == 0
    # 2,496 bytes of adapters and a head of 47 classes in float32, as in the release.
    sizes = inspect_task(task)['bytes']
    assert (sizes['adapters'], sizes['head']) == (2_496, 4 * 47 * (768 + 1))
    assert sizes['adapters'] + sizes['head'] == binary.stat().st_size
    assert not main(['test', config, task, '--work-dir', str(tmp_path / 'test')])
    (scores,) = (tmp_path / 'test').rglob('*.json')
    assert json.loads(scores.read_text())['accuracy/top1'] == 100


@pytest.mark.parametrize(
    ('changes', 'match'),
    [
        (dict(scale=1.0), "'scale': 0.1.*'scale': 1.0.*set them alike"),
        (dict(method='adaptformer-bihead'), "expected type='PackedClsHead' with num_classes=5"),
        (dict(num_class=4), "expected type='LinearClsHead' with num_classes=4"),
    ],
)
def test_a_config_that_does_not_fit(
    release: Release, weights: Path, archive: Path, tmp_path: Path, changes: dict, match: str
) -> None:
    files = release(**{'num_class': CLASSES, 'scale': 0.1, **changes})
    with pytest.raises(ValueError, match=match):
        import_petl_into(*files, config(tmp_path, weights), tmp_path / 'toy.task.safetensors')


def test_checkpoint_and_config_exclude_each_other(
    release: Release, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    files = [str(file) for file in release()]
    options = ['--out', str(tmp_path / 'o.task.safetensors'), '--checkpoint', 'x', '--config', 'y']
    assert main(['task', 'import-petl', *files, *options]) == 1
    assert '--checkpoint is invalid with --config' in capsys.readouterr().err
