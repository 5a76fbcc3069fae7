from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from tiny_runs import CLASSES, ROOT, Run, tool

from mmqadapter import save_task
from mmqadapter.engine.runner import build_model, load_config
from mmqadapter.inference import load_model


def predict(run: Run, out: Path, *images: str | Path, options: tuple[str, ...] = ()) -> int:
    names = [str(image) for image in images]
    return tool('predict')([run.config, run.task, *names, '--out', str(out), *options])


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file()}


def test_a_segmentor_writes_label_maps_and_overlays(semantic: Run, tmp_path: Path, capsys) -> None:
    assert predict(semantic, tmp_path, semantic.images) == 0
    kinds = ('labels', 'overlays')
    assert files(tmp_path) == {f'{kind}/{n}.png' for kind in kinds for n in range(4)}
    labels = Image.open(tmp_path / 'labels/0.png')
    assert (labels.mode, labels.size) == ('L', (64, 64))
    assert set(np.unique(np.asarray(labels))) <= set(range(len(CLASSES)))
    overlay = np.asarray(Image.open(tmp_path / 'overlays/0.png'))
    assert overlay.shape == (64, 64, 3)
    assert np.abs(overlay - np.asarray(Image.open(semantic.images / '0.jpg'), int)).max() > 50
    assert '4 images' in capsys.readouterr().out


def test_a_detector_writes_coco_json_and_overlays(instances: Run, tmp_path: Path) -> None:
    every = ('--score-thr', '0')
    assert predict(instances, tmp_path, f'{instances.images}/[01].jpg', options=every) == 0
    assert files(tmp_path) == {
        *('instances.json', 'instances/0.json', 'instances/1.json'),
        *('overlays/0.png', 'overlays/1.png'),
    }
    coco = COCO(str(tmp_path / 'instances.json'))
    assert [c['name'] for c in coco.cats.values()] == list(CLASSES)
    assert [(i['file_name'], i['width']) for i in coco.imgs.values()] == [
        ('0.jpg', 64),
        ('1.jpg', 64),
    ]
    assert len(coco.anns) > 1
    for found in coco.anns.values():
        assert coco.annToMask(found).shape == (64, 64)
        assert found['category_id'] in coco.cats and 0 <= found['score'] <= 1
        assert coco.annToMask(found).sum() == found['area']


def test_several_tasks_write_into_folders_of_their_own(
    semantic: Run, tmp_path: Path, capsys
) -> None:
    model = load_model(semantic.config, semantic.task)
    with torch.no_grad():
        model.decode_head.conv_seg.bias.copy_(torch.tensor([0.0, 0.0, 1e6]))
    dots = tmp_path / 'dots.task.safetensors'
    save_task(model, dots, dict(classes=('x', 'y', 'z')))
    assert predict(semantic, tmp_path / 'one', semantic.images) == 0
    out = tmp_path / 'out'
    assert predict(semantic, out, dots, semantic.images) == 0
    kinds = ('labels', 'overlays')
    assert files(out) == {
        f'{task}/{kind}/{n}.png' for task in ('last', 'dots') for kind in kinds for n in range(4)
    }
    for file in files(tmp_path / 'one'):
        assert (out / 'last' / file).read_bytes() == (tmp_path / 'one' / file).read_bytes()
    assert (np.asarray(Image.open(out / 'dots/labels/0.png')) == 2).all()
    output = capsys.readouterr().out
    assert str(out / 'last') in output and str(out / 'dots') in output


HIGHWAY = """
_base_ = {base!r}
model = dict(
    backbone=dict(
        _delete_=True, type='mmqadapter.HighwayBackbone', backbone=_base_.model.backbone.backbone,
        adapter=dict(type='ConvAdapter', width=4), cell='JoinedCell', taps='stream'),
    test_cfg=dict(mode='slide', crop_size=(48, 48), stride=(16, 16)),
)
"""


def test_tasks_on_a_highway_are_predicted_in_one_run_each_as_alone(
    semantic: Run, tmp_path: Path
) -> None:
    config = tmp_path / 'highway.py'
    config.write_text(HIGHWAY.format(base=semantic.config))
    model = build_model(load_config(str(config)))
    tasks = [str(tmp_path / f'{name}.task.safetensors') for name in ('a', 'b')]
    for seed, task in enumerate(tasks):
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter))
        save_task(model, task, dict(classes=CLASSES))
    run = [str(config), *tasks, str(semantic.images)]
    assert tool('predict')([*run, '--out', str(tmp_path / 'out')]) == 0
    for task, name in zip(tasks, 'ab', strict=True):
        alone = tmp_path / 'alone' / name
        assert tool('predict')([run[0], task, run[-1], '--out', str(alone)]) == 0
        for file in files(alone):
            assert (tmp_path / 'out' / name / file).read_bytes() == (alone / file).read_bytes()
    labels = [(tmp_path / f'out/{name}/labels/0.png').read_bytes() for name in 'ab']
    assert labels[0] != labels[1]


def test_tasks_that_do_not_go_together_write_nothing(
    semantic: Run, instances: Run, tmp_path: Path, capsys
) -> None:
    out = tmp_path / 'out'
    for more, text in [
        (tmp_path / 'no.safetensors', 'there is no task file'),
        (semantic.task, "two tasks would write results called '"),
        (shutil.copy(instances.task, tmp_path / 'b.safetensors'), 'belongs to the trunk'),
    ]:
        assert predict(semantic, out, more, semantic.images) == 1
        assert text in capsys.readouterr().err
    command = [semantic.config, semantic.checkpoint, semantic.task, str(semantic.images)]
    assert tool('predict')([*command, '--out', str(out)]) == 1
    assert 'is not a task file' in capsys.readouterr().err and not out.exists()


def test_nothing_above_the_threshold_still_gives_all_files(instances: Run, tmp_path: Path) -> None:
    assert (
        predict(instances, tmp_path, instances.images / '0.jpg', options=('--score-thr', '1')) == 0
    )
    content = json.loads((tmp_path / 'instances.json').read_text())
    assert len(content['images']) == 1 and content['annotations'] == []
    assert (tmp_path / 'overlays/0.png').is_file()


def test_equal_names_from_two_folders_stay_apart(semantic: Run, tmp_path: Path) -> None:
    for place in ('a/1.jpg', 'b/1.jpg'):
        path = tmp_path / 'in' / place
        path.parent.mkdir(parents=True)
        path.write_bytes((semantic.images / '1.jpg').read_bytes())
    assert predict(semantic, tmp_path / 'out', tmp_path / 'in/a', tmp_path / 'in/b/1.jpg') == 0
    assert {'labels/a/1.png', 'labels/b/1.png'} < files(tmp_path / 'out')


def test_a_damaged_image_is_named_and_leaves_nothing_half(semantic: Run, tmp_path, capsys) -> None:
    bad = tmp_path / 'bad.jpg'
    bad.write_bytes(b'no image')
    assert predict(semantic, tmp_path / 'out', bad) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    reason = 'cannot be read as an image: expected an undamaged image file of 8-bit gray or RGB'
    assert message == f'{bad}: {reason}'
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('name', ['no.jpg', 'no/*.png'])
def test_a_missing_image_is_named(semantic: Run, tmp_path: Path, capsys, name: str) -> None:
    assert predict(semantic, tmp_path, name) == 1
    assert f"FileNotFoundError: there is no image, folder or match of '{name}'" in (
        capsys.readouterr().err
    )


def test_the_exit_status_reaches_the_shell(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / 'tools/predict.py', 'no.py', 'x', 'y', '--out', tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr and done.stderr.startswith('FileNotFoundError')


def test_real_images_go_through_at_their_own_size(semantic: Run, real_data: Path, tmp_path) -> None:
    image = sorted((real_data / 'camvid/images/val').iterdir())[0]
    assert predict(semantic, tmp_path, image) == 0
    with Image.open(image) as source, Image.open(tmp_path / f'labels/{image.stem}.png') as labels:
        assert source.size == labels.size


class Touch:
    """Runs when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


def test_an_unsafe_checkpoint_needs_trust(semantic: Run, tmp_path: Path, capsys) -> None:
    content = torch.load(semantic.checkpoint, weights_only=False)
    weights, proof = tmp_path / 'own.pth', tmp_path / 'proof'
    torch.save({**content, 'more': Touch(proof)}, weights)
    words = [semantic.config, str(weights), str(semantic.images), '--out', str(tmp_path / 'out')]
    assert tool('predict')(words) == 1
    assert '--trust-checkpoint' in capsys.readouterr().err and not proof.exists()
    assert tool('predict')([*words, '--trust-checkpoint']) == 0
    assert proof.exists() and len(files(tmp_path / 'out')) == 8
