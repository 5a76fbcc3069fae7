"""What ``new`` says last, and what the head of the written config says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import annotation_writers as writers
import pytest
from mmengine.config import Config

from mmqadapter.cli.new import main
from mmqadapter.own_data import Choices, new_config
from mmqadapter.own_data.formats import read_folder
from mmqadapter.own_data.models import describe_model
from mmqadapter.own_data.new_config import packages_of

CHOICES = Choices(iterations=20, batch=2)
DOCS = Path(__file__).parents[2] / 'docs'
PACKAGE = Path(__file__).parents[2] / 'mmqadapter'


def run(capsys: pytest.CaptureFixture, *argv: object) -> str:
    """Run the command; return its last line."""
    main([str(arg) for arg in argv])
    return capsys.readouterr().out.splitlines()[-1]


def head_of(path: Path) -> list[str]:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    return docstring.splitlines()


def test_paths_with_spaces_are_quoted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    writers.label_maps(tmp_path / 'data')
    out = tmp_path / "my task's.py"
    last = run(capsys, tmp_path / 'data', '--out', out, '--batch', 2)
    assert last == f"next: mmqadapter train '{tmp_path}/my task'\"'\"'s.py'"
    assert head_of(out)[-2:] == [
        "mmqadapter check-data 'my task'\"'\"'s.py'",
        "mmqadapter train 'my task'\"'\"'s.py'",
    ]


def test_names_that_would_end_the_docstring(tmp_path: Path) -> None:
    writers.label_maps(tmp_path / 'data')
    out = tmp_path / 'a"""\\n.py'
    new_config(tmp_path / 'data', out, CHOICES)
    assert head_of(out)[-1] == 'mmqadapter train \'a"""\\n.py\''
    assert Config.fromfile(out).train_cfg.max_iters == 20


def test_errors_of_the_data_are_to_be_mended(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for split in ('train', 'val'):
        writers.coco(tmp_path / 'data' / split)
    (tmp_path / 'data' / 'val' / 'images' / 'b.png').write_bytes(b'')
    last = run(capsys, tmp_path / 'data', '--out', tmp_path / 'task.py')
    assert last == f'correct them, then: mmqadapter check-data {tmp_path / "task.py"}'


@pytest.mark.parametrize(
    ('choices', 'origin', 'passes'),
    [
        (Choices(), '', 'about 400 passes over 2 images'),
        (Choices(batch=4, iterations=2), '; batch and iterations as you chose', 'about 4 passes'),
        (Choices(iterations=2), '; iterations as you chose', 'about 2 passes'),
    ],
)
def test_the_head_says_what_was_chosen(
    tmp_path: Path, choices: Choices, origin: str, passes: str
) -> None:
    for split in ('train', 'val'):
        writers.label_maps(tmp_path / 'data' / split)
    written = new_config(tmp_path / 'data', tmp_path / 'task.py', choices)
    text = written.path.read_text()
    assert f'# Size and length, {written.proposal.origin}\n' in text
    assert re.fullmatch(f'proposed for a .*{origin}', written.proposal.origin)
    assert f'  # {passes}' in text
    assert ('chose' in written.proposal.origin) == bool(origin)


def test_a_short_training_sees_less_than_all_images(tmp_path: Path) -> None:
    for split in 'train', 'train/2', 'train/3', 'val':
        writers.yolo(tmp_path / 'data' / split)
    choices = Choices(batch=1, iterations=2)
    text = new_config(tmp_path / 'data', tmp_path / 'task.py', choices).path.read_text()
    assert '  # less than one pass over 6 images' in text
    choices = Choices(batch=2, iterations=3)
    text = new_config(tmp_path / 'data', tmp_path / 'task.py', choices, True).path.read_text()
    assert '  # about 1 pass over 6 images' in text


@pytest.mark.parametrize('model', ['vit-tiny', 'swin-tiny'])
@pytest.mark.parametrize('name', ['yolo', 'label_maps'])
def test_packages_are_those_that_the_config_names(tmp_path: Path, model: str, name: str) -> None:
    getattr(writers, name)(tmp_path / 'data')
    out = tmp_path / 'task.py'
    new_config(tmp_path / 'data', out, Choices(model, iterations=20, batch=2))
    named = set(re.findall(r"'(mmdet|mmseg|mmpretrain)(?:\.|::)", out.read_text()))
    assert named == set(packages_of(read_folder(tmp_path / 'data'), describe_model(model)))


def test_pages_that_messages_name_exist() -> None:
    titles = {
        match[1]
        for page in DOCS.rglob('*.md')
        if (match := re.match(r'# (.+)', page.read_text('utf-8')))
    }
    named: list[str] = []
    for file in PACKAGE.rglob('*.py'):
        # Texts are joined as Python joins neighbors.
        text = re.sub(r"'\s*\n\s*f?'", '', file.read_text('utf-8'))
        named += re.findall(r'docs page\s+"([^"]+)"', text)
        pages = re.findall(r'docs page "[^"]+" \((docs/[^ )]+)', text)
        assert all((DOCS.parent / page).is_file() for page in pages)
    assert len(named) >= 4
    assert set(named) <= titles
