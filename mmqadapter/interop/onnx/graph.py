"""From a plain segmentor to an ONNX graph."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx import OnnxExporterError

OPSET = 18
INPUT, OUTPUT = 'image', 'logits'
# These tell of each operation that they leave as it is.
TALKATIVE = ('onnxscript', 'onnx_ir', 'torch.onnx')


def make_graph(net: nn.Module, image: Tensor) -> Any:
    """The graph of ``net`` for images of the size of ``image``, as an ``onnx.ModelProto``.

    By PyTorch's exporter of today, ``torch.onnx.export(dynamo=True)``, whose graphs know all
    sizes, so that pooling to any size exports. What follows from constants alone, such as masks
    of windows, is computed here. Weights stay as they are, under their names: batch norms are
    not merged into convolutions, which onnxruntime does when it loads the graph.

    Args:
        net: In eval mode, without gradients.
        image: (1, 3, H, W).

    Raises:
        ValueError: The exporter does not know how to export a part of the net.
    """
    from onnxscript import optimizer

    try:
        with _quiet():
            program: Any = torch.onnx.export(
                net, (image,), dynamo=True, opset_version=OPSET, optimize=False, verbose=False,
                input_names=[INPUT], output_names=[OUTPUT],
            )  # fmt: skip
            optimizer.fold_constants(program.model)
            optimizer.remove_unused_nodes(program.model)
    except OnnxExporterError as error:
        raise ValueError(
            f'PyTorch {torch.__version__} cannot export this model: {_reason(error)}'
        ) from error
    return program.model_proto


def describe(graph: Any, facts: Mapping[str, str]) -> None:
    """Put ``facts`` into the graph's metadata, in place of what the exporter wrote there."""
    del graph.metadata_props[:]
    for key, value in facts.items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, value


@contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _reason(error: BaseException) -> str:
    """What went wrong first, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or repr(error)).splitlines()[0]
