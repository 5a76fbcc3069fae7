"""Options of a test: pictures of the predictions, dumped results, test-time augmentation."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.evaluator import DumpResults

from mmqadapter.engine.data_configs import leaf_configs

PICKLES = ('.pkl', '.pickle')
TTA_META = (
    'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction',
)  # fmt: skip
TTA_MODELS: dict[str, dict[str, Any]] = {
    'mmdet': dict(
        type='DetTTAModel',
        tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
    ),
    'mmseg': dict(type='SegTTAModel'),
    'mmpretrain': dict(type='AverageClsScoreTTA'),
}
PICKLED = ('mmdet', 'mmpretrain')  # scopes whose results are written as a pickle


def draw_predictions(
    cfg: Config, show: bool = False, show_dir: str | None = None, wait_time: float = 2.0
) -> None:
    """Let a test draw each prediction beside the truth, in a window or into a folder.

    Args:
        cfg: Config to change.
        show: Open a window for each picture.
        show_dir: Folder for the pictures, relative to the current folder.
        wait_time: Seconds that a window stays.

    Raises:
        ValueError: A window is asked for without a screen, the config is of mmpretrain, or it is of
            neither mmdet nor mmseg and has no hook that draws.
    """
    if not (show or show_dir):
        return
    if cfg.get('default_scope') == 'mmpretrain':
        raise ValueError(
            '--show-dir is not possible for classifiers, since mmpretrain gives pictures of images '
            'of one file name one name: use mmqadapter predict.'
        )
    if show and sys.platform.startswith('linux') and not _has_screen():
        raise ValueError('--show needs a screen, and none is found: use --show-dir DIR instead.')
    hook = _drawing_hook(cfg)
    hook.update(draw=True, interval=1)
    if show:
        hook.update(show=True, wait_time=wait_time)
    if show_dir and 'Det' in str(hook['type']):
        hook.test_out_dir = os.path.abspath(show_dir)  # else it is a folder of the work dir
    elif show_dir:
        _save_pictures(cfg.visualizer, os.path.abspath(show_dir))


def _save_pictures(visualizer: ConfigDict, folder: str) -> None:
    """Let the visualizer of a segmentor save its pictures into ``folder``, an absolute path."""
    backends = visualizer.get('vis_backends') or []
    backends = [dict(part) for part in ([backends] if isinstance(backends, dict) else backends)]
    local = [part for part in backends if str(part['type']).endswith('LocalVisBackend')]
    if not local:
        local = [dict(type='LocalVisBackend')]
        backends += local
    local[0]['img_save_dir'] = folder
    visualizer.vis_backends = backends


def write_results(cfg: Config, out: str) -> None:
    """Let a test write its results: label maps into a folder, or a pickle of other models.

    Args:
        cfg: Config to change.
        out: Folder (mmseg), or a ``.pkl`` file (mmdet, mmpretrain).

    Raises:
        ValueError: ``out`` does not end in ``.pkl`` for a detector or classifier, or the evaluator
            of a segmentor cannot write label maps.
    """
    if cfg.get('default_scope') in PICKLED:
        if Path(out).suffix not in PICKLES:
            raise ValueError(f'--out {out!r} is invalid: expected a file name that ends in .pkl.')
        return
    evaluators = [part for part in _evaluators(cfg) if 'IoUMetric' in str(part.get('type'))]
    if not evaluators:
        raise ValueError('--out needs an IoUMetric in test_evaluator, which writes label maps.')
    evaluators[0]['output_dir'] = str(out)


def dump_metric(cfg: Config, out: str | None) -> list[Any]:
    """Return the metrics to add for ``--out``: those that write a pickle, or none."""
    scope = cfg.get('default_scope')
    if out is None or scope not in PICKLED:
        return []
    if scope == 'mmpretrain':
        return [DumpResults(out_file_path=str(out))]
    from mmdet.evaluation import DumpDetResults

    return [DumpDetResults(out_file_path=str(out))]


def augment_tests(cfg: Config) -> None:
    """Let a test average the predictions of an image and of its mirror image.

    ``tta_model`` and ``tta_pipeline`` of the config are used where it has them.

    Raises:
        ValueError: The config is of neither mmdet nor mmseg and has no ``tta_model``, or the model
            predicts instance masks, which mmdet does not average.
    """
    scope = cfg.get('default_scope')
    model = cfg.get('tta_model') or TTA_MODELS.get(str(scope))
    if model is None:
        raise ValueError(f'default_scope={scope!r} has no --tta: add tta_model and tta_pipeline.')
    if scope == 'mmdet' and (
        cfg.model.get('mask_head') or (cfg.model.get('roi_head') or {}).get('mask_head')
    ):
        raise ValueError('--tta is not possible here: mmdet averages boxes, not masks.')
    pipeline = cfg.get('tta_pipeline')
    for leaf, _ in leaf_configs(cfg.test_dataloader.dataset):
        leaf['pipeline'] = copy.deepcopy(pipeline or _mirrored(leaf['pipeline'], scope == 'mmdet'))
    cfg.model = ConfigDict(**copy.deepcopy(model), module=cfg.model)


def _drawing_hook(cfg: Config) -> ConfigDict:
    """Return the visualization hook of a config; add it and a visualizer where they are missing."""
    kind = {'mmdet': 'Det', 'mmseg': 'Seg'}.get(str(cfg.get('default_scope')))
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    if kind is None and not hooks.get('visualization'):
        raise ValueError(
            'the config has no hook that draws: add one as default_hooks.visualization, such as '
            "dict(type='SegVisualizationHook')."
        )
    if not hooks.get('visualization'):
        hooks.visualization = ConfigDict(type=f'{kind}VisualizationHook')
    if kind and not cfg.get('visualizer'):
        backends = [dict(type='LocalVisBackend')]
        cfg.visualizer = ConfigDict(
            type=f'{kind}LocalVisualizer', name='visualizer', vis_backends=backends
        )
    return hooks.visualization


def _mirrored(pipeline: list[dict], detector: bool) -> list[dict]:
    """Return a test pipeline that gives each image as it is and mirrored."""
    # Label maps are loaded after the flip: scores need them as they are on the disk.
    kinds = [str(step['type']).split('.')[-1] for step in pipeline]
    cut = (
        len(kinds) - 1
        if detector or 'LoadAnnotations' not in kinds
        else kinds.index('LoadAnnotations')
    )
    rest = [dict(step) for step in pipeline[cut:]]
    if detector:
        rest[-1]['meta_keys'] = TTA_META
    flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
    return [*pipeline[:cut], dict(type='TestTimeAug', transforms=[flips, *([s] for s in rest)])]


def _evaluators(cfg: Config) -> Iterator[dict]:
    evaluator = cfg.get('test_evaluator') or []
    yield from [evaluator] if isinstance(evaluator, dict) else evaluator


def _has_screen() -> bool:
    return bool(os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY'))
