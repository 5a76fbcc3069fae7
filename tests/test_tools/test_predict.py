from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from tiny_runs import CLASSES, ROOT, Run, tool


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
    assert files(tmp_path) == {'instances.json', 'overlays/0.png', 'overlays/1.png'}
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
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith('ValueError') and 'bad.jpg' in told and 'cannot be read' in told
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
