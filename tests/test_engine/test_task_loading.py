"""Task files where mmdet, mmseg and mmengine load checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint
from tiny_runs import CLASSES, Run, fresh_globals, instances, semantic
from torch import nn

from mmqadapter.engine.runner import load_config
from mmqadapter.engine.task_loading import task_checkpoint
from mmqadapter.inference import load_model, predict
from mmqadapter.taskfile.format import is_task_file

__all__ = ['fresh_globals', 'instances', 'semantic']


INHERITING = """
_base_ = {base!r}
visualizer = dict(type={visualizer!r}, vis_backends=[], name={visualizer!r})
test_pipeline = _base_.val_dataloader.dataset.pipeline
"""


def config_for_inference(run: Run, folder: Path, visualizer: str) -> str:
    """Write a config with what mmdet and mmseg read beside the model; return its path."""
    path = folder / 'inference.py'
    path.write_text(INHERITING.format(base=run.config, visualizer=visualizer))
    return str(path)


def expected_labels(run: Run) -> np.ndarray:
    return predict(run.config, run.task, run.images / '0.jpg')[0].labels


def test_init_model_of_mmseg(semantic: Run, tmp_path: Path) -> None:
    from mmseg.apis import inference_model, init_model

    config = config_for_inference(semantic, tmp_path, 'SegLocalVisualizer')
    model = init_model(config, semantic.task, device='cpu')
    assert tuple(model.dataset_meta['classes']) == CLASSES
    image = str(semantic.images / '0.jpg')
    labels = inference_model(model, image).pred_sem_seg.data[0].numpy()
    assert np.array_equal(labels, expected_labels(semantic))


def test_inferencer_of_mmseg(semantic: Run, tmp_path: Path) -> None:
    from mmseg.apis import MMSegInferencer

    config = config_for_inference(semantic, tmp_path, 'SegLocalVisualizer')
    inferencer = MMSegInferencer(config, semantic.task, device='cpu')
    found = inferencer(str(semantic.images / '0.jpg'))['predictions']
    assert np.array_equal(found, expected_labels(semantic))


def expected_scores(run: Run) -> list[float]:
    (prediction,) = predict(run.config, run.task, run.images / '0.jpg', score_thr=0.0)
    assert prediction.instances
    return [row['score'] for row in prediction.instances]


def test_init_detector_of_mmdet(instances: Run) -> None:
    from mmdet.apis import inference_detector, init_detector

    model = init_detector(load_config(instances.config), instances.task, device='cpu')
    assert tuple(model.dataset_meta['classes']) == CLASSES
    found = inference_detector(model, str(instances.images / '0.jpg')).pred_instances.scores
    assert found.tolist() == pytest.approx(expected_scores(instances))


def test_inferencer_of_mmdet(instances: Run, tmp_path: Path) -> None:
    from mmdet.apis import DetInferencer

    config = config_for_inference(instances, tmp_path, 'DetLocalVisualizer')
    inferencer = DetInferencer(config, instances.task, device='cpu')
    (found,) = inferencer(str(instances.images / '0.jpg'), pred_score_thr=0.0)['predictions']
    assert found['scores'] == pytest.approx(expected_scores(instances), abs=1e-6)


def test_load_checkpoint_of_mmengine(semantic: Run) -> None:
    model = load_model(semantic.config, semantic.task)
    fresh: Any = MODELS.build(load_config(semantic.config).model)
    load_checkpoint(fresh, semantic.task, map_location='cpu')
    for name, tensor in model.decode_head.state_dict().items():
        assert torch.equal(fresh.decode_head.state_dict()[name], tensor), name


def test_a_net_without_a_wrapper_is_refused(semantic: Run) -> None:
    with pytest.raises(ValueError, match='Linear has no wrapped backbone to load it into; build'):
        load_checkpoint(nn.Linear(2, 2), semantic.task)


def test_the_weights_of_a_trunk_are_no_task_file(semantic: Run) -> None:
    cfg = load_config(semantic.config).model.backbone
    cfg.backbone.init_cfg = dict(type='Pretrained', checkpoint=semantic.task)
    with pytest.raises(ValueError, match='is a task file, not a checkpoint of a whole net; use'):
        MODELS.build(cfg).init_weights()


def test_plain_pytorch_does_not_ignore_it(semantic: Run) -> None:
    state = task_checkpoint(semantic.task)['state_dict']
    with pytest.raises(ValueError, match='is a task file, not a checkpoint of a whole net'):
        nn.Linear(2, 2).load_state_dict(state, strict=False)


def test_other_files_stay_as_they_were(semantic: Run, tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    torch.save(net.state_dict(), file := tmp_path / 'net.pth')
    assert is_task_file(semantic.task)
    for other in (file, semantic.checkpoint, tmp_path, tmp_path / 'none', None, {}):
        assert not is_task_file(other)
    fresh = nn.Linear(2, 2)
    load_checkpoint(fresh, str(file))
    assert torch.equal(fresh.weight, net.weight)


@pytest.mark.parametrize('size', [0, 100, 1000])
def test_a_truncated_task_file_is_called_so(semantic: Run, tmp_path: Path, size: int) -> None:
    file = tmp_path / 'cut.task.safetensors'
    file.write_bytes(Path(semantic.task).read_bytes()[:size])
    with pytest.raises(ValueError, match='cut.task.safetensors. is truncated or damaged'):
        load_checkpoint(nn.Linear(2, 2), str(file))


def test_a_task_file_of_another_name_is_known_by_its_content(semantic: Run, tmp_path: Path) -> None:
    file = tmp_path / 'renamed.pth'
    file.write_bytes(Path(semantic.task).read_bytes())
    (found,) = predict(semantic.config, file, semantic.images / '0.jpg')
    assert np.array_equal(found.labels, expected_labels(semantic))
