"""Conversion of a plain segmentor to an ONNX graph."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx import OnnxExporterError

from mmqadapter.utils.text import one_line, root_cause

OPSET = 18
INPUT, OUTPUT = 'image', 'logits'
# Loggers that print a line for each operation that they leave unchanged.
VERBOSE_LOGGERS = ('onnxscript', 'onnx_ir', 'torch.onnx')


def make_graph(net: nn.Module, image: Tensor) -> Any:
    """Return the graph of ``net`` for images of the size of ``image``, as an ``onnx.ModelProto``.

    Uses ``torch.onnx.export(dynamo=True)``, whose graphs know all sizes, so that pooling to any
    size exports. Results that depend only on constants, such as window masks, are computed here.
    Weights keep their values and names: batch norms are not merged into convolutions, which
    onnxruntime does when it loads the graph.

    Args:
        net: In eval mode, without gradients.
        image: (1, 3, H, W).

    Raises:
        ValueError: The exporter does not support a part of the net.
    """
    from onnxscript import optimizer

    try:
        with _errors_only():
            program: Any = torch.onnx.export(
                net, (image,), dynamo=True, opset_version=OPSET, optimize=False, verbose=False,
                input_names=[INPUT], output_names=[OUTPUT],
            )  # fmt: skip
            optimizer.fold_constants(program.model)
            optimizer.remove_unused_nodes(program.model)
    except OnnxExporterError as error:
        raise ValueError(
            f'PyTorch {torch.__version__} cannot export this model: {one_line(root_cause(error))}'
        ) from error
    return program.model_proto


@contextmanager
def _errors_only() -> Iterator[None]:
    """Silence what the exporter logs below the level of errors."""
    loggers = [logging.getLogger(name) for name in VERBOSE_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
