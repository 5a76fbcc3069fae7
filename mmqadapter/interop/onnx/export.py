"""Export of a tuned segmentor to an ONNX file."""

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
from mmqadapter.interop.onnx.graph import make_graph
from mmqadapter.interop.onnx.image_size import choose_size
from mmqadapter.interop.onnx.metadata import graph_metadata, task_name
from mmqadapter.interop.onnx.packages import require_packages
from mmqadapter.interop.onnx.segmentor import PlainSegmentor, stock_trunk
from mmqadapter.utils.atomic import atomic_write

MAX_BYTES = 2**31  # of a protobuf message


@dataclass(frozen=True)
class Exported:
    """Properties of an exported graph.

    Attributes:
        image_size: Height and width that the graph accepts, in pixels.
        classes: Number of logits per pixel.
        difference: Largest difference between the logits of onnxruntime and of PyTorch on random
            input, relative to the largest logit.
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

    The graph maps ``image``, normalized pixels as float32 (1, 3, H, W), to ``logits``
    (1, classes, H, W). Quantized weights become float32 constants, and the trunk computes in
    float32. The file is written atomically, once onnxruntime and PyTorch compute the same logits.

    Args:
        config: Config that the task was trained with; the trunk's weights must be available.
        task: Task file or checkpoint.
        out: The ``.onnx`` file to write.
        image_size: Height and width in pixels; by default those to which the config pads or
            crops images.
        name: Name of the task in the metadata; by default that of its file.
        cfg_options: Settings to override in the config.
        trust: See :func:`mmqadapter.checkpoints.load.load_weights`.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The extra ``onnx`` is not installed, the model is not a segmentor, the image
            size is invalid, the weights do not fit, PyTorch cannot export the model, or the graph
            is larger than 2 GiB or computes other logits.
    """
    if Path(out).suffix != '.onnx':
        raise ValueError(f'out={str(out)!r} is invalid: it must end in .onnx.')
    require_packages()
    from onnx import helper

    cfg = stock_trunk(load_config(config, cfg_options))
    size = choose_size(cfg.model, image_size)
    model = load_model(cfg, task, 'cpu', trust=trust)
    net = PlainSegmentor(model).eval()
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    logits = pytorch_logits(net, image)
    graph = make_graph(net, image)
    preprocessor = cfg.model.get('data_preprocessor') or {}
    metadata = graph_metadata(model, preprocessor, name or task_name(task))
    helper.set_model_props(graph, metadata)  # replaces what the exporter wrote
    content = _serialized(graph)
    difference = check_graph(content, image, logits)
    atomic_write(out, content)
    return Exported(size, logits.shape[1], difference)


def _serialized(graph: Any) -> bytes:
    if (size := graph.ByteSize()) >= MAX_BYTES:
        raise ValueError(f'the graph has {size:,} bytes, but an ONNX file is limited to 2 GiB.')
    return graph.SerializeToString()
