"""Choice of the widths and bits of adapters that fit into a given number of bytes."""

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
    """Settings of adapters, and their sizes.

    Attributes:
        width: Width of the bottleneck, or rank.
        bits: Bits per adapter weight.
        head_bits: Bits per weight outside the adapters.
        adapter_parameters: Number of trainable parameters in the adapters.
        trainable_parameters: Number of all trainable parameters.
        adapter_bytes: Bytes of the adapters in the task file.
        file_bytes: Bytes of the task file.
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
    """Candidates that fit.

    Attributes:
        max_bytes: Largest allowed number of bytes.
        limited: What has to fit: ``'file'`` or ``'adapters'``.
        fits: Candidates that fit, the widest first, then by bits and head bits, descending.
        nearest: The smallest candidate that does not fit; None if all do.
    """

    max_bytes: int
    limited: str
    fits: list[Candidate]
    nearest: Candidate | None

    @property
    def widest(self) -> list[Candidate]:
        """The widest candidate that fits for each pair of bits and head bits."""
        widest: dict[tuple[int, int], Candidate] = {}
        for candidate in self.fits:
            widest.setdefault((candidate.bits, candidate.head_bits), candidate)
        return list(widest.values())

    def as_json(self) -> str:
        """Return the plan as JSON for other programs."""
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
        cfg: A config whose backbone has adapters of any width and bits.
        max_bytes: Largest allowed number of bytes.
        limited: What has to fit: ``'file'``, the whole task file, or ``'adapters'``.
        widths: Widths to try; by default powers of two and the width of the config.
        head_bits: Head bits to try; by default all, or only 32 if the adapters are limited.

    Raises:
        ValueError: The config has no adapters with a width, or an argument is invalid.
    """
    if limited not in LIMITED:
        raise ValueError(f'limited={limited!r} is invalid: expected one of {LIMITED}.')
    heads = head_bits or (HEAD_BITS if limited == FILE else (FLOAT_BITS,))
    ordered = sorted(candidates(cfg, widths, heads), key=_sort_key)
    fits = [candidate for candidate in ordered if limited_bytes(candidate, limited) <= max_bytes]
    larger = (candidate for candidate in ordered if limited_bytes(candidate, limited) > max_bytes)
    nearest = min(larger, key=lambda candidate: limited_bytes(candidate, limited), default=None)
    return Plan(max_bytes, limited, fits, nearest)


def limited_bytes(candidate: Candidate, limited: str) -> int:
    """Return the bytes of a candidate to which the limit applies."""
    return candidate.file_bytes if limited == FILE else candidate.adapter_bytes


def candidates(
    cfg: Config, widths: Sequence[int] = (), head_bits: Sequence[int] = HEAD_BITS
) -> Iterator[Candidate]:
    """Yield a candidate for each combination of width, bits and head bits.

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
            for number, head in heads.items():
                yield Candidate(
                    width,
                    bits,
                    head_bits=number,
                    adapter_parameters=size.parameters,
                    trainable_parameters=head.parameters + size.parameters,
                    adapter_bytes=sum(map(entry_bytes, entries.values())),
                    file_bytes=head.file_bytes(entries, tuning),
                )


def _variants(blank: BlankModel, width: int) -> Iterator[tuple[Any, int]]:
    """Yield the backbone with adapters of a width, with each number of bits that they support."""
    try:
        quantized = blank.backbone(width, quantized=True)
    except ValueError:  # too few weights for a quantizer, or an invalid width
        yield blank.backbone(width, quantized=False), FLOAT_BITS
        return
    yield from ((quantized, bits) for bits in (*BITS, FLOAT_BITS))


class _Head:
    """Content of a task file beside the adapters, read from a file that is really written."""

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
        """Return the bytes of the file with these adapters."""
        metadata = {**self._metadata, 'tuning': {**self._metadata['tuning'], **tuning}}
        text = json.dumps(metadata, sort_keys=True, separators=(',', ':'))
        return container_bytes({**self._entries, **adapters}, KEY, text)


def _tuning(config: Mapping[str, Any], bits: int) -> dict[str, Any]:
    """Return the adapter and quantizer of the tuning config, with other bits."""
    quantizer = {**(config['quantizer'] or {}), 'bits': bits} if bits < FLOAT_BITS else None
    return {'adapter': config['adapter'], 'quantizer': quantizer}


def _sort_key(candidate: Candidate) -> tuple[int, int, int]:
    return -candidate.width, -candidate.bits, -candidate.head_bits
