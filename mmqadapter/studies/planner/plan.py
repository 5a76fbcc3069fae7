"""Which bits and widths of adapters fit into a budget of bytes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from mmqadapter.quant import BITS
from mmqadapter.studies.planner.adapter_bytes import adapter_size
from mmqadapter.studies.planner.blank_model import FLOAT_BITS, BlankModel
from mmqadapter.studies.planner.container import Entries, container_bytes, entry_bytes
from mmqadapter.taskfile import save_task
from mmqadapter.taskfile.adapter_codec import ADAPTER_PREFIX
from mmqadapter.taskfile.format import KEY, read_content
from mmqadapter.taskfile.head_bits import FLOAT_BITS as HEAD_FLOAT_BITS
from mmqadapter.utils.tuned_backbone import tuned_backbone

FILE, ADAPTERS = 'file', 'adapters'
LIMITED = (FILE, ADAPTERS)
DEFAULT_WIDTHS = (1, 2, 4, 8, 16, 32, 64, 128)
HEAD_BITS = (*BITS, *HEAD_FLOAT_BITS)


@dataclass(frozen=True)
class Candidate:
    """Adapters that could be trained, and what they would take.

    Attributes:
        width: Of the bottleneck (or the rank).
        bits: Of an adapter's weight.
        head_bits: Of a weight outside the adapters.
        adapter_parameters: Trainable parameters in the adapters.
        trainable_parameters: In all.
        adapter_bytes: Adapters in the task file.
        file_bytes: The task file.
    """

    width: int
    bits: int
    head_bits: int
    adapter_parameters: int
    trainable_parameters: int
    adapter_bytes: int
    file_bytes: int


@dataclass(frozen=True)
class Plan:
    """What fits.

    Attributes:
        max_bytes: The budget.
        limited: What has to fit: ``'file'`` or ``'adapters'``.
        fits: Widest first, then most bits, then most head bits.
        nearest: The smallest that does not fit; None if all do.
    """

    max_bytes: int
    limited: str
    fits: list[Candidate]
    nearest: Candidate | None

    @property
    def widest(self) -> list[Candidate]:
        """Those that no other of the same bits and head bits is wider than."""
        first: dict[tuple[int, int], Candidate] = {}
        for one in self.fits:
            first.setdefault((one.bits, one.head_bits), one)
        return list(first.values())

    def as_json(self) -> str:
        """All of it, for other programs."""
        return json.dumps(asdict(self), indent=2)


def make_plan(
    cfg: Config,
    max_bytes: int,
    limited: str = FILE,
    widths: Sequence[int] = (),
    head_bits: Sequence[int] = (),
) -> Plan:
    """Plan the adapters of a config; no pretrained weights are needed.

    Args:
        cfg: A config whose backbone has adapters; bits and width of its own do not bind.
        max_bytes: The budget.
        limited: What has to fit: ``'file'``, the whole task file, or ``'adapters'``.
        widths: Which; by default powers of two and the config's own.
        head_bits: Which; by default all, or 32 where the adapters alone count.

    Raises:
        ValueError: The config has no adapters with a width, or an argument outside its values.
    """
    if limited not in LIMITED:
        raise ValueError(f'limited={limited!r} is unknown; use one of {LIMITED}.')
    heads = head_bits or (HEAD_BITS if limited == FILE else (FLOAT_BITS,))
    found = sorted(candidates(cfg, widths, heads), key=_richest)
    fits = [one for one in found if taken(one, limited) <= max_bytes]
    others = (one for one in found if taken(one, limited) > max_bytes)
    nearest = min(others, key=lambda one: taken(one, limited), default=None)
    return Plan(max_bytes, limited, fits, nearest)


def taken(candidate: Candidate, limited: str) -> int:
    """Bytes of a candidate that count."""
    return candidate.file_bytes if limited == FILE else candidate.adapter_bytes


def candidates(
    cfg: Config, widths: Sequence[int] = (), head_bits: Sequence[int] = HEAD_BITS
) -> Iterator[Candidate]:
    """Yield all combinations of width, bits and head bits.

    Raises:
        ValueError: See :func:`make_plan`.
    """
    blank = BlankModel(cfg)
    model, meta = blank.model(), blank.dataset_meta()
    heads = {bits: _Head(model, meta, bits) for bits in head_bits}
    for width in widths or sorted({*DEFAULT_WIDTHS, blank.width}):
        for backbone, bits in _variants(blank, width):
            size, tuning = adapter_size(backbone.adapters), _tuning(backbone.tuning_config, bits)
            entries = size.entries(bits)
            for one, head in heads.items():
                yield Candidate(
                    width,
                    bits,
                    head_bits=one,
                    adapter_parameters=size.parameters,
                    trainable_parameters=head.parameters + size.parameters,
                    adapter_bytes=sum(map(entry_bytes, entries.values())),
                    file_bytes=head.file_bytes(entries, tuning),
                )


def _variants(blank: BlankModel, width: int) -> Iterator[tuple[Any, int]]:
    """The backbone with adapters of a width, at each width in bits that it takes."""
    try:
        quantized = blank.backbone(width, quantized=True)
    except ValueError:  # too few weights for a quantiser, or too few for an adapter at all
        yield blank.backbone(width, quantized=False), FLOAT_BITS
        return
    yield from ((quantized, bits) for bits in (*BITS, FLOAT_BITS))


class _Head:
    """What a task file has beside the adapters, read from a file that was really written."""

    def __init__(self, model: nn.Module, meta: Mapping[str, Any], bits: int) -> None:
        backbone: Any = tuned_backbone(model)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.parameters = trained - adapter_size(backbone.adapters).parameters
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, 'blank.task.safetensors')
            save_task(model, path, dataset_meta=meta, head_bits=bits)
            content = read_content(path)
        self._metadata = {**content.metadata, 'sha256': 64 * '0'}
        self._entries = {
            name: (str(tensor.dtype), tuple(tensor.shape))
            for name, tensor in content.tensors.items()
            if not name.startswith(ADAPTER_PREFIX)
        }

    def file_bytes(self, adapters: Entries, tuning: Mapping[str, Any]) -> int:
        """Bytes of the file with these adapters."""
        metadata = {**self._metadata, 'tuning': {**self._metadata['tuning'], **tuning}}
        text = json.dumps(metadata, sort_keys=True, separators=(',', ':'))
        return container_bytes({**self._entries, **adapters}, KEY, text)


def _tuning(config: Mapping[str, Any], bits: int) -> dict[str, Any]:
    """What the tuning config says of adapter and quantiser at other bits."""
    quantizer = {**(config['quantizer'] or {}), 'bits': bits} if bits < FLOAT_BITS else None
    return {'adapter': config['adapter'], 'quantizer': quantizer}


def _richest(candidate: Candidate) -> tuple[int, int, int]:
    return -candidate.width, -candidate.bits, -candidate.head_bits
