"""tools/task.py export-onnx: from a task file to a graph that runs without us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_data import CLASSES
from tiny_runs import Run, forget

from mmqadapter.inference import load_model
from mmqadapter.interop.onnx import packages

onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')


@torch.no_grad()
def logits(config: str, weights: str | Path, image: torch.Tensor) -> np.ndarray:
    """What mmseg itself computes."""
    forget()
    model: Any = load_model(config, weights, 'cpu')
    return model.encode_decode(image, [dict(img_shape=tuple(image.shape[-2:]))]).numpy()


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['task', 'checkpoint'])
def test_a_graph_of_a_quantized_task(few: Run, run_task, tmp_path: Path, kind: str) -> None:
    out, weights = tmp_path / 'new' / 'shapes.onnx', getattr(few, kind)
    status, told, _ = run_task('export-onnx', few.config, weights, '--out', out, '--name', 'shapes')
    assert status == 0
    assert 'opset 18; image (1, 3, 64, 64) to logits (1, 3, 64, 64)' in told
    assert 'onnxruntime and PyTorch differ by' in told
    session = onnxruntime.InferenceSession(str(out))
    image = torch.randn(1, 3, 64, 64)
    (got,) = session.run(None, {'image': image.numpy()})
    wanted = logits(few.config, weights, image)
    assert np.abs(got - wanted).max() < 2e-5 * np.abs(wanted).max()
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told['classes']) == list(CLASSES) and told['task'] == 'shapes'
    assert len(json.loads(told['palette'])) == len(CLASSES)
    assert (told['channels'], told['mean'], told['std']) == (
        'BGR', '[0.0, 0.0, 0.0]', '[1.0, 1.0, 1.0]',
    )  # fmt: skip
    assert [path.name for path in out.parent.iterdir()] == ['shapes.onnx']


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (
            ['--image-size', '0', '64'],
            'image size [0, 64] is invalid: expected a height and a width',
        ),
        (['--cfg-options', 'model.data_preprocessor.size=None'], 'give --image-size HEIGHT WIDTH'),
    ],
)
def test_image_sizes_that_do_not_do(
    semantic: Run, run_task, tmp_path: Path, words: list[str], text: str
) -> None:
    out = tmp_path / 'x.onnx'
    status, _, told = run_task('export-onnx', semantic.config, semantic.task, '--out', out, *words)
    assert status == 1 and text in told and not out.exists()


def test_a_detector_is_refused(instances: Run, run_task, tmp_path: Path) -> None:
    words = ['--out', tmp_path / 'x.onnx', '--image-size', '64', '64']
    status, _, told = run_task('export-onnx', instances.config, instances.task, *words)
    assert (
        status == 1
        and 'MaskRCNN is invalid: expected a model that computes logits for every pixel' in told
    )
    assert "mmseg's segmentors (EncoderDecoder" in told and not any(tmp_path.iterdir())


def test_the_extra_is_named_where_it_is_missing(
    semantic: Run, run_task, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(packages, 'PACKAGES', ('onnx', 'not_there'))
    words = ['--out', tmp_path / 'x.onnx']
    status, _, told = run_task('export-onnx', semantic.config, semantic.task, *words)
    assert status == 1
    assert "needs not_there, which is not installed: pip install 'mmqadapter[onnx]'" in told


def test_another_suffix_is_refused(semantic: Run, run_task, tmp_path: Path) -> None:
    words = ['--out', tmp_path / 'x.pth']
    _, _, told = run_task('export-onnx', semantic.config, semantic.task, *words)
    assert "x.pth' is invalid: it must end in .onnx" in told
