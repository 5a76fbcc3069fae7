"""Prediction of a real network on a real CamVid image, by mmseg and by onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from segmentors import perturbed

from mmqadapter import save_task
from mmqadapter.engine.runner import build_model, load_config
from mmqadapter.inference import load_model, predict
from mmqadapter.interop.onnx import export_onnx

onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')
CONFIG = Path(__file__).parents[3] / 'configs' / 'upernet_vit-tiny_qadapter_camvid.py'
BITS = {'decode_head.*': 4, 'neck.*': 8}


@pytest.mark.slow
def test_labels_of_a_street_scene(real_data: Path, tmp_path: Path) -> None:
    task, out = tmp_path / 'street.task.safetensors', tmp_path / 'street.onnx'
    model = build_model(load_config(CONFIG))
    for part in (model.backbone.adapters, model.neck, model.decode_head):
        perturbed(part)
    save_task(model, task, head_bits=BITS)
    exported = export_onnx(CONFIG, task, out)
    assert exported.image_size == (240, 320) and exported.classes == 11
    assert exported.difference < 1e-5
    image = sorted((real_data / 'camvid/images/val').glob('*.jpg'))[0]
    small = tmp_path / 'small.png'  # the size of the graph, so that neither way resizes
    Image.open(image).convert('RGB').resize((320, 240)).save(small)
    (prediction,) = predict(load_model(CONFIG, task, 'cpu'), None, small)
    labels = onnx_labels(out, small)
    assert prediction.labels is not None and len(np.unique(labels)) > 1
    assert (labels == prediction.labels).mean() > 0.9999


def onnx_labels(path: Path, image: Path) -> np.ndarray:
    """Predict labels with onnxruntime alone, as in docs/tutorials/to_onnx.md."""
    session = onnxruntime.InferenceSession(str(path))
    metadata = session.get_modelmeta().custom_metadata_map
    mean, std = (np.float32(json.loads(metadata[key])) for key in ('mean', 'std'))
    assert metadata['channels'] == 'RGB' and torch.tensor(mean).tolist() == [127.5] * 3
    pixels = np.float32(Image.open(image))
    normalized = ((pixels - mean) / std).transpose(2, 0, 1)[None]
    return session.run(['logits'], {'image': normalized})[0][0].argmax(0)
