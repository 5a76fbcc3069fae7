"""A tuned segmentor to an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmqadapter.engine.runner import load_config
from mmqadapter.inference.model import load_model
from mmqadapter.interop.onnx.check import check_graph, pytorch_logits
from mmqadapter.interop.onnx.graph import describe, make_graph
from mmqadapter.interop.onnx.image_size import choose_size
from mmqadapter.interop.onnx.metadata import graph_metadata, task_name
from mmqadapter.interop.onnx.packages import require_packages
from mmqadapter.interop.onnx.segmentor import PlainSegmentor, stock_trunk
from mmqadapter.utils.atomic import atomic_write

LARGEST = 2**31  # bytes, of a protobuf message


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        image_size: Height and width that the graph takes, in pixels.
        classes: Number of logits of a pixel.
        difference: Of onnxruntime's logits from PyTorch's on random numbers, at most, as a share
            of the largest logit.
    """

    image_size: tuple[int, int]
    classes: int
    difference: float


def export_onnx(
    config: str | os.PathLike,
    task: str | os.PathLike,
    out: str | os.PathLike,
    image_size: Sequence[int] | None = None,
    name: str | None = None,
    cfg_options: dict[str, Any] | None = None,
    trust: bool = False,
) -> Exported:
    """Write a tuned segmentor as one ONNX file.

    The graph takes ``image``, normalised pixels float32 (1, 3, H, W), and gives ``logits``
    (1, classes, H, W). Quantised weights are plain float32 constants in it; the trunk computes in
    float32. The file is written atomically, after onnxruntime has computed what PyTorch computes.

    Args:
        config: The config that the task was trained with; its trunk must be at hand.
        task: A task file or a checkpoint.
        out: The ``.onnx`` to write.
        image_size: Height and width in pixels; by default what the config pads or cuts images to.
        name: Of the task, for the metadata; by default that of its file.
        cfg_options: Settings to override in the config.
        trust: See :func:`mmqadapter.checkpoints.load.load_weights`.

    Raises:
        FileNotFoundError: A file that does not exist.
        ValueError: The extra ``onnx`` is not installed, no segmentor, an image size that does not
            do, weights that do not fit, a model that PyTorch cannot export, or a graph that is
            larger than 2 GiB or computes something else.
    """
    if Path(out).suffix != '.onnx':
        raise ValueError(f'{str(out)!r} must end in .onnx.')
    require_packages()
    cfg = stock_trunk(load_config(config, cfg_options))
    size = choose_size(cfg.model, image_size)
    model = load_model(cfg, task, 'cpu', trust=trust)
    net = PlainSegmentor(model).eval()
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    logits = pytorch_logits(net, image)
    graph = make_graph(net, image)
    preparing = cfg.model.get('data_preprocessor') or {}
    describe(graph, graph_metadata(model, preparing, name or task_name(task)))
    content = _serialized(graph)
    difference = check_graph(content, image, logits)
    atomic_write(out, content)
    return Exported(size, logits.shape[1], difference)


def _serialized(graph: Any) -> bytes:
    if (size := graph.ByteSize()) >= LARGEST:
        raise ValueError(f'the graph has {size:,} bytes; an ONNX file holds less than 2 GiB.')
    return graph.SerializeToString()
