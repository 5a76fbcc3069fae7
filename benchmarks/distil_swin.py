"""Distil a ViT-Tiny into a small Swin of 7 million weights, on unlabeled photos.

python benchmarks/distil_swin.py --photos ../shared/data/photos \
    --teacher ../shared/data/weights/vit_tiny_patch16_224.safetensors --out work_dirs/swin_distilled

The student learns the teacher's last tokens, from its maps of stride 16 and 32 through a linear
layer each, and the teacher's class logits, from its mean over the last map. It gives features that
were learned from photos to experiments with a Swin, which random weights do not; it is a small Swin
of a small teacher, not one of the released ones. Started again with the same --out, it continues
from the last checkpoint. Products run in bfloat16: on two CPU cores that have instructions for it,
5000 steps take about an hour, on others twice as long or more. The weights, OUT/swin.pth, are for
configs/upernet_swin-distilled_highway_camvid.py.
"""

import argparse
import io
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import mmseg.models  # noqa: F401  registers the Swin
import timm
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from mmqadapter.utils.atomic import atomic_write

CONFIG = Path(__file__).parents[1] / 'configs/upernet_swin-distilled_highway_camvid.py'
SWIN = {**Config.fromfile(CONFIG).swin, 'init_cfg': None}
HELD_OUT = 20  # every 20th photo is for validation
LOG_INTERVAL, SAVE_INTERVAL = 20, 200


class Student(nn.Module):
    """Swin with linear layers to the teacher's tokens and logits."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.swin = MODELS.build(SWIN)
        third, fourth = (SWIN['embed_dims'] * n for n in (4, 8))
        self.to_tokens = nn.ModuleList(nn.Linear(size, channels) for size in (third, fourth))
        self.to_logits = nn.Linear(fourth, classes)

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return maps (B, H, W, C) of strides 16 and 32, and logits (B, classes)."""
        maps = [map_.permute(0, 2, 3, 1) for map_ in self.swin(images)[2:]]
        tokens = [layer(map_) for layer, map_ in zip(self.to_tokens, maps, strict=True)]
        return tokens, self.to_logits(maps[1].mean((1, 2)))


def load_teacher(path: Path) -> nn.Module:
    """Return the ViT-Tiny, frozen, for images whose sides are multiples of 16."""
    options = dict(checkpoint_path=str(path), dynamic_img_size=True)
    return timm.create_model('vit_tiny_patch16_224', **options).eval().requires_grad_(False)


@torch.no_grad()
def targets(teacher: nn.Module, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return what :class:`Student` has to return; each token has mean 0 and deviation 1."""
    features = teacher.forward_features(images)
    grid = [size // 16 for size in images.shape[2:]]
    tokens = F.layer_norm(features[:, 1:], features.shape[-1:]).unflatten(1, grid)
    pooled = F.avg_pool2d(tokens.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    return [tokens, pooled], teacher.forward_head(features)


def losses(student: nn.Module, teacher: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return the squared errors of tokens and the divergence of the class distributions."""
    with torch.autocast(images.device.type, torch.bfloat16):
        (tokens, logits), (true_tokens, true_logits) = student(images), targets(teacher, images)
    errors = [F.mse_loss(a.float(), b) for a, b in zip(tokens, true_tokens, strict=True)]
    true, guess = (F.log_softmax(scores.float(), -1) for scores in (true_logits, logits))
    divergence = F.kl_div(guess, true, reduction='batchmean', log_target=True)
    return {'stride_16': errors[0], 'stride_32': errors[1], 'classes': 0.1 * divergence}


def load_photos(folder: Path) -> tuple[list[Tensor], list[Tensor]]:
    """Return photos (3, H, W), uint8, for training and for validation."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in ('.jpg', '.jpeg', '.png'))
    if not paths:
        raise FileNotFoundError(
            f'{str(folder)!r} has no JPEG or PNG photos; give another --photos.'
        )
    photos = [v2.functional.pil_to_tensor(Image.open(path).convert('RGB')) for path in paths]
    return [p for i, p in enumerate(photos) if i % HELD_OUT], photos[::HELD_OUT]


def batches(photos: list[Tensor], size: int, count: int, seed: int) -> Iterator[Tensor]:
    """Yield batches of random crops (count, 3, size, size) in [-1, 1], without an end."""
    torch.manual_seed(seed)
    crop = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.2, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.3, 0.3, 0.3),
        ]
    )
    while True:
        chosen = torch.randint(len(photos), (count,)).tolist()
        yield torch.stack([crop(photos[i]) for i in chosen]) / 127.5 - 1


@torch.no_grad()
def validate(student: nn.Module, teacher: nn.Module, images: Tensor) -> dict[str, float]:
    """Return the losses on fixed images and the share of the teacher's first classes."""
    student.eval()
    values = {name: loss.item() for name, loss in losses(student, teacher, images).items()}
    same = student(images)[1].argmax(-1) == teacher(images).argmax(-1)
    student.train()
    return {**values, 'same_class': same.float().mean().item()}


def train(args: argparse.Namespace) -> None:
    """Train until ``args.steps``; save checkpoints, the log and the weights of the Swin."""
    torch.manual_seed(args.seed)
    teacher = load_teacher(args.teacher)
    student = Student(teacher.num_features, teacher.num_classes).train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=args.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _factor(step, args.steps))
    training, held_out = load_photos(args.photos)
    fixed = torch.stack([v2.functional.center_crop(p, [args.size] * 2) for p in held_out])
    fixed = fixed / 127.5 - 1
    parts = dict(student=student, optimizer=optimizer, schedule=schedule)
    first = _resume(args.out / 'last.pth', parts)
    data, start = batches(training, args.size, args.batch, args.seed + first), time.monotonic()
    for step in range(first + 1, args.steps + 1):
        loss = sum(losses(student, teacher, next(data)).values())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        if step % LOG_INTERVAL == 0 or step == args.steps:
            seconds = (time.monotonic() - start) / (step - first)
            _log(args.out, step, seconds, loss.item(), validate(student, teacher, fixed))
        if step % SAVE_INTERVAL == 0 or step == args.steps:
            states = {name: part.state_dict() for name, part in parts.items()}
            _save({**states, 'step': step}, args.out / 'last.pth')
    _save({'state_dict': student.swin.state_dict()}, args.out / 'swin.pth')


def _factor(step: int, steps: int) -> float:
    warm_up = min(1.0, (step + 1) / (0.05 * steps))
    return warm_up * 0.5 * (1 + math.cos(math.pi * step / steps))


def _resume(path: Path, parts: dict) -> int:
    """Load a checkpoint, if there is one; return its step, or 0."""
    if not path.is_file():
        return 0
    stored = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(stored[name])
    return stored['step']


def _save(content: dict, path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    atomic_write(path, buffer.getvalue())


def _log(folder: Path, step: int, seconds: float, loss: float, values: dict[str, float]) -> None:
    line = {'step': step, 'seconds_per_step': round(seconds, 3), 'loss': loss, **values}
    print(json.dumps(line), flush=True)
    with open(folder / 'log.jsonl', 'a') as file:
        file.write(json.dumps(line) + '\n')


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--photos', type=Path, required=True)
    parser.add_argument('--teacher', type=Path, required=True, help="timm's vit_tiny_patch16_224")
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--steps', type=int, default=5000)
    parser.add_argument('--size', type=int, default=160, help='pixels, a multiple of 32')
    parser.add_argument('--batch', type=int, default=32)
    parser.add_argument('--rate', type=float, default=1e-3)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    train(args)


if __name__ == '__main__':
    main()
