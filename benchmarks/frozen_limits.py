"""What a frozen trunk cannot learn: classes, sizes of objects, and layers that full tuning changes.

python benchmarks/frozen_limits.py DIR --out benchmarks/results/frozen_limits_camvid

DIR is the ``--out`` of a sweep of a segmentor with the methods frozen and full. On its validation
images, as means over seeds:

- IoU of each class;
- share of right pixels in ground-truth objects by size: connected regions of a class other than
  the largest classes, split at areas of 32 x 32 and 96 x 96 pixels as in COCO;
- linear CKA (arXiv 1905.00414) of tokens, for each block of the pretrained trunk and of the fully
  tuned one, and for each output map of each method and of full fine-tuning: 1 for equal up to
  rotation and scale. Tokens behind a block are normalized as the norm of the next block does it:
  otherwise the few tokens of huge norm that ViTs have in late blocks decide alone.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from findings import Run
from mmengine.config import Config
from mmengine.runner import Runner
from report_files import header, print_table, write_report
from torch import Tensor, nn
from torch.nn import functional

from mmqadapter.inference import load_model

SMALL, LARGE = 32**2, 96**2  # pixels, borders of the three sizes
SIZES = ('small', 'medium', 'large')
STUFF = 0.05  # classes with a larger share of all pixels are not objects
IGNORED = 255
CKA_IMAGES = 20


class LinearCKA:
    """Sums from which the linear CKA of two sets of features follows, batch by batch."""

    def __init__(self) -> None:
        self._moments: Any = 0.0
        self._sums: Any = 0.0
        self._count = 0

    def add(self, first: Tensor, second: Tensor) -> None:
        """Add features of the same tokens: (N, C1) and (N, C2)."""
        joint = torch.cat([first, second], 1).double()
        self._split = first.shape[1]
        self._moments = self._moments + joint.T @ joint
        self._sums = self._sums + joint.sum(0)
        self._count += len(joint)

    def value(self) -> float:
        """Return the CKA, from 0 to 1."""
        covariance = self._moments - torch.outer(self._sums, self._sums) / self._count
        k = self._split
        first, second, cross = covariance[:k, :k], covariance[k:, k:], covariance[:k, k:]
        return float(cross.square().sum() / (first.norm() * second.norm()))


class Counts:
    """Counts of pixels of the predictions of one model."""

    def __init__(self, classes: int) -> None:
        self.confusion = np.zeros((classes, classes), np.int64)
        self.objects: dict[tuple[int, str], np.ndarray] = defaultdict(lambda: np.zeros(2, np.int64))

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Add an image: classes of its pixels (H, W)."""
        known, classes = truth != IGNORED, len(self.confusion)
        joint = truth[known].astype(np.int64) * classes + predicted[known]
        self.confusion += np.bincount(joint, minlength=classes**2).reshape(classes, classes)
        for label in np.unique(truth[known]):
            for area, region in regions(truth == label):
                right = int((predicted[region] == label).sum())
                self.objects[int(label), size_name(area)] += (right, area)

    def iou(self) -> np.ndarray:
        """Return the IoU of each class, in percent."""
        right = np.diag(self.confusion)
        union = self.confusion.sum(0) + self.confusion.sum(1) - right
        return 100 * right / np.maximum(union, 1)

    def found(self) -> dict[str, float]:
        """Return the share of right pixels in objects of each size, in percent."""
        share = self.confusion.sum(1) / self.confusion.sum()
        result = {}
        for size in SIZES:
            counts = [
                v for (label, s), v in self.objects.items() if s == size and share[label] < STUFF
            ]
            right, area = np.sum(counts, 0) if counts else (0, 1)
            result[size] = 100 * right / area
        return result


def regions(mask: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the area and the mask of each connected region."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    for index in range(1, count):
        region = labels == index
        yield int(region.sum()), region


def size_name(area: int) -> str:
    """Return the size of an object of this many pixels."""
    return SIZES[(area >= SMALL) + (area >= LARGE)]


def batches(cfg: Config, limit: int | None = None) -> Iterator[dict]:
    """Yield the validation images of a config, one by one."""
    loader = dict(cfg.val_dataloader, batch_size=1, num_workers=0, persistent_workers=False)
    for index, batch in enumerate(Runner.build_dataloader(loader)):
        if limit is not None and index >= limit:
            return
        yield batch


@torch.no_grad()
def count(model: Any, cfg: Config) -> Counts:
    """Return the counts of a model on all validation images."""
    counts = Counts(len(model.dataset_meta['classes']))
    for batch in batches(cfg):
        sample = model.test_step(batch)[0]
        truth, predicted = sample.gt_sem_seg.data[0], sample.pred_sem_seg.data[0]
        counts.add(truth.cpu().numpy(), predicted.cpu().numpy())
    return counts


def blocks(model: Any) -> list[nn.Module]:
    """Return the blocks of the backbone, in order."""
    lists = [
        module
        for name, module in model.backbone.named_modules()
        if name.rpartition('.')[2] == 'blocks' and 'adapters' not in name
    ]
    return [block for blocks in lists for block in blocks.children()]


@torch.no_grad()
def features(model: Any, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return tokens (N, C) behind each block, normalized, and of each output map."""
    found: list[Tensor] = []

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        tokens = (output[0] if isinstance(output, tuple) else output).flatten(0, -2)
        found.append(functional.layer_norm(tokens, tokens.shape[-1:]))

    handles = [block.register_forward_hook(keep) for block in blocks(model)]
    maps = model.backbone(images)
    for handle in handles:
        handle.remove()
    return found, [map_.permute(0, 2, 3, 1).flatten(0, 2) for map_ in maps]


def similarity(model: Any, full: Any, cfg: Config) -> dict[str, list[float]]:
    """Return the CKA with the fully tuned model, of each block and of each output map."""
    sums: dict[str, list[LinearCKA]] = {}
    for batch in batches(cfg, CKA_IMAGES):
        images = full.data_preprocessor(batch, False)['inputs']
        pairs = zip(features(model, images), features(full, images), strict=True)
        for place, (ours, theirs) in zip(('blocks', 'maps'), pairs, strict=True):
            kept = sums.setdefault(place, [LinearCKA() for _ in ours])
            for linear, first, second in zip(kept, ours, theirs, strict=True):
                linear.add(first, second)
    return {place: [linear.value() for linear in kept] for place, kept in sums.items()}


def study(sweep: Path, method: str, seeds: Iterable[int]) -> dict[str, Any]:
    """Return the row of a method: means over seeds."""
    rows = []
    for seed in seeds:
        models = {}
        for name in dict.fromkeys((method, 'full')):
            run = Run(sweep, name, seed)
            models[name] = load_model(str(run.config), run.checkpoint, 'cpu')
        cfg = Config.fromfile(run.config)
        counts = count(models[method], cfg)
        rows.append((counts.iou(), counts.found(), similarity(models[method], models['full'], cfg)))
    classes = models[method].dataset_meta['classes']
    iou = np.mean([row[0] for row in rows], 0)
    return {
        'method': method,
        'mIoU': float(iou.mean()),
        'classes': dict(zip(classes, iou.tolist(), strict=True)),
        'objects': {size: float(np.mean([row[1][size] for row in rows])) for size in SIZES},
        **{f'cka {k}': np.mean([row[2][k] for row in rows], 0).tolist() for k in rows[0][2]},
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the tables of all methods."""
    parts = []
    for title, key in (('IoU of each class', 'classes'), ('Right pixels in objects', 'objects')):
        table = [['method', *rows[0][key]], ['---'] * (1 + len(rows[0][key]))]
        table += [[row['method'], *(f'{v:.1f}' for v in row[key].values())] for row in rows]
        parts += [f'## {title}, %', '', *(f'| {" | ".join(line)} |' for line in table), '']
    for title, key in (('blocks', 'cka blocks'), ('output maps', 'cka maps')):
        names = [str(index + 1) for index in range(len(rows[0][key]))]
        table = [['method', *names], ['---'] * (1 + len(names))]
        table += [[row['method'], *(f'{v:.3f}' for v in row[key])] for row in rows]
        head = f'## CKA with full fine-tuning, {title}'
        parts += [head, '', *(f'| {" | ".join(line)} |' for line in table), '']
    return '\n'.join(parts)


def main() -> None:
    """Study all methods; print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sweep', type=Path)
    parser.add_argument('--methods', default='frozen,full,highway-joined-64,mona,adaptformer-64')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    rows = [study(args.sweep, method, args.seeds) for method in args.methods.split(',')]
    text = markdown(rows)
    write_report(args.out, header(__file__, seeds=args.seeds), rows, text)
    print_table(text)


if __name__ == '__main__':
    main()
