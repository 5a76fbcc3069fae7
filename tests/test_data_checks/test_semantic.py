from __future__ import annotations

from pathlib import Path

import mmcv
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmqadapter.data_checks.config import check_dataset, scan_config
from mmqadapter.data_checks.problem import Problem

pytest.importorskip('mmseg')

ROOT = Path(__file__).parents[2]


def write_pair(root: Path, split: str, name: str, mask: np.ndarray | None, size=(8, 6)) -> None:
    for folder in ('images', 'annotations'):
        (root / folder / split).mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size).save(root / 'images' / split / f'{name}.jpg')
    if mask is not None:
        kind = 'TIFF' if mask.dtype == np.float32 else 'PNG'
        Image.fromarray(mask).save(root / 'annotations' / split / f'{name}.png', format=kind)


def two_classes(**values: int) -> np.ndarray:
    mask = np.zeros((6, 8), np.uint8)
    mask[0] = 1
    mask[5] = 255
    mask.flat[: len(values)] = list(values.values())
    return mask


def dataset_config(root: Path, split: str, **changes) -> dict:
    return (
        dict(
            type='mmseg.BaseSegDataset',
            data_root=str(root),
            data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'annotations/{split}'),
            metainfo=dict(classes=('ground', 'thing')),
            pipeline=[dict(type='LoadImageFromFile')],
        )
        | changes
    )


def config(root: Path, **changes) -> Config:
    splits = {split: dataset_config(root, split, **changes) for split in ('train', 'val')}
    return Config({f'{split}_dataloader': dict(dataset=data) for split, data in splits.items()})


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    for split in ('train', 'val'):
        write_pair(tmp_path, split, 'a', two_classes())
    return tmp_path


def only(problems: list[Problem], kind: str) -> Problem:
    assert [problem.kind for problem in problems] == [kind], problems
    return problems[0]


def test_sound_data_give_no_problem_and_the_pixel_counts(sound: Path) -> None:
    assert check_dataset(config(sound)) == []
    train = scan_config(config(sound))[0]
    assert train.counts == {'ground': 32, 'thing': 8} and train.images == 1


@pytest.mark.parametrize(
    ('mask', 'kind', 'message'),
    [
        (None, 'image without annotation', 'does not exist'),
        (two_classes(value=7), 'unknown label', r'7 \(1 pixels\); expected 0 to 1 or 255'),
        (np.zeros((8, 6), np.uint8), 'size mismatch', 'image is 8 x 6, its label map 6 x 8'),
        (np.zeros((6, 8, 3), np.uint8), 'not a label map', 'stored as RGB'),
        (
            np.full((6, 8), 300, np.uint16),
            'not a label map',
            'uint16, 300 to 300: .* 8-bit channel',
        ),
        (np.full((6, 8), 0.5, np.float32), 'not a label map', 'float32, 0.5 to 0.5'),
    ],
)
def test_a_bad_mask_is_named(sound: Path, mask: np.ndarray, kind: str, message: str) -> None:
    write_pair(sound, 'train', 'b', mask)
    problem = only(check_dataset(config(sound)), kind)
    assert problem.severity == 'error' and 'train/b.png' in problem.where
    with pytest.raises(ValueError, match=message):
        raise ValueError(problem.message)


@pytest.mark.parametrize('path', ['images/val/a.jpg', 'annotations/val/a.png'])
def test_a_truncated_file_is_found(sound: Path, path: str) -> None:
    content = (sound / path).read_bytes()
    (sound / path).write_bytes(content[: len(content) // 2])
    assert path in only(check_dataset(config(sound)), 'unreadable file').where


def test_a_mask_without_image_is_a_warning(sound: Path) -> None:
    (sound / 'annotations/train/b.png').write_bytes(b'')
    problem = only(check_dataset(config(sound)), 'annotation without image')
    assert problem.severity == 'warning' and 'b.png' in problem.where


def test_an_image_of_another_suffix_is_a_warning(sound: Path) -> None:
    Image.new('RGB', (8, 6)).save(sound / 'images/train/b.PNG')
    assert 'b.PNG' in only(check_dataset(config(sound)), 'unused image').where


def test_a_photo_turned_by_exif_has_the_turned_size(sound: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (6, 8)).save(sound / 'images/train/a.jpg', exif=exif)
    assert check_dataset(config(sound)) == []


def test_a_webp_is_read_as_it_lies(sound: Path) -> None:
    """OpenCV, which the training loader reads with, does not turn it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = sound / 'images/train/a.webp'
    for size, kinds in (((8, 6), []), ((6, 8), ['size mismatch'])):
        Image.new('RGB', size).save(path, exif=exif)
        height, width = mmcv.imread(str(path)).shape[:2]
        assert (width, height) == size
        problems = check_dataset(config(sound, img_suffix='.webp'))
        assert [x.kind for x in problems if x.kind == 'size mismatch'] == kinds


def test_a_palette_mask_counts_its_indices(sound: Path) -> None:
    mask = Image.fromarray(two_classes()).convert('P')
    mask.putdata(two_classes().ravel().tolist())
    mask.save(sound / 'annotations/train/a.png')
    assert check_dataset(config(sound)) == []


def test_reduce_zero_label_is_applied(sound: Path) -> None:
    problems = check_dataset(config(sound, reduce_zero_label=True))
    assert [(x.kind, x.where) for x in problems] == [('empty class', 'thing')]
    assert scan_config(config(sound, reduce_zero_label=True))[0].counts['ground'] == 8


def test_another_ignore_index_makes_255_unknown(sound: Path) -> None:
    problems = check_dataset(config(sound, ignore_index=254))
    assert {problem.kind for problem in problems} == {'unknown label'}


def test_a_list_of_names_limits_the_check(sound: Path) -> None:
    write_pair(sound, 'train', 'b', None)
    (sound / 'names.txt').write_text('a\n')
    cfg = config(sound)
    cfg.train_dataloader.dataset.ann_file = 'names.txt'
    assert 'b.jpg' in only(check_dataset(cfg), 'unused image').where
    cfg.train_dataloader.dataset.ann_file = 'absent.txt'
    assert 'absent.txt' in only(check_dataset(cfg), 'missing file').message


def test_a_listed_image_that_is_absent_is_an_error(sound: Path) -> None:
    (sound / 'names.txt').write_text('a\nc\n')
    cfg = config(sound)
    cfg.train_dataloader.dataset.ann_file = 'names.txt'
    kinds = [problem.kind for problem in check_dataset(cfg)]
    assert kinds == ['missing image', 'image without annotation']


@pytest.mark.parametrize(
    ('changes', 'kind', 'message'),
    [
        (
            dict(data_prefix=dict(img_path='nope', seg_map_path='annotations/train')),
            'missing folder',
            'nope',
        ),
        (dict(data_prefix=dict(img_path='images/train')), 'missing folder', 'seg_map_path'),
        (dict(metainfo=None), 'no classes', 'give a tuple'),
        (dict(metainfo=dict(classes='thing')), 'no classes', 'with a comma'),
    ],
)
def test_what_stops_the_scan_is_an_error(
    sound: Path, changes: dict, kind: str, message: str
) -> None:
    problems = check_dataset(config(sound, **changes))
    assert {problem.kind for problem in problems} == {kind}
    assert message in problems[0].message


def test_the_camvid_data_are_sound(real_data: Path) -> None:
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/camvid.py')
    cfg.default_scope = 'mmseg'
    scans = scan_config(cfg)
    assert check_dataset(cfg) == []
    assert [scan.images for scan in scans] == [123, 51]
