"""A task file of a training checkpoint."""

from __future__ import annotations

import os

from mmqadapter.config_text import stored_config
from mmqadapter.running import build_model, load_config
from mmqadapter.taskfile import save_task
from mmqadapter.weights import EMA, averaged, dataset_meta, load_state, read_checkpoint


def export_task(
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    config: str | os.PathLike | None = None,
    head_bits: int = 32,
    ema: bool = True,
    trust: bool = False,
) -> str:
    """Write the task file ``out`` of a training checkpoint.

    Args:
        checkpoint: A checkpoint of a model with a wrapped backbone.
        out: Path of the task file; written atomically.
        config: The training's config; by default the one in the checkpoint, read as data.
        head_bits: Bits per weight outside the adapters: 32 or 16.
        ema: Where an EMA hook trained along, take the averaged weights, as validation did.
        trust: See :func:`mmqadapter.weights.read_checkpoint`.

    Returns:
        Which weights the file holds, in words.

    Raises:
        FileNotFoundError: A file that does not exist.
        ValueError: No safe or no fitting checkpoint, no wrapped backbone, no EMA to leave out.
    """
    content = read_checkpoint(checkpoint, trust)
    if not ema and EMA not in content:
        raise ValueError(f'{str(checkpoint)!r} holds no averaged weights; leave --no-ema out.')
    cfg = load_config(config) if config else stored_config(content)
    model = build_model(cfg)
    load_state(model, averaged(content, ema), checkpoint)
    meta = dataset_meta(content.get('meta', {}).get('dataset_meta'))
    save_task(model, out, dataset_meta=meta, head_bits=head_bits)
    if EMA not in content:
        return 'the trained weights'
    return 'the averaged (EMA) weights' if ema else 'the weights without averaging'
