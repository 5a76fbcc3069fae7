"""The weights that identify a trunk, and their fingerprint where they are stored rounded."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping

import torch
from torch import Tensor, nn

from mmqadapter.backbones.acceleration import code_names, decode_int8
from mmqadapter.backbones.family import BlockFamily
from mmqadapter.taskfile.fingerprint import fingerprint


def fingerprint_inputs(
    trunk: nn.Module, family: BlockFamily, trainable_names: Container[str]
) -> dict[str, Tensor]:
    """Return the frozen parameters by name, without those that loading resizes.

    Weights that are stored as int8 codes are decoded.

    Args:
        trunk: The trunk.
        family: Its row of the table.
        trainable_names: Names of what trains in it, whether it does at the moment or not.
    """
    parameters = dict(trunk.named_parameters())
    weights = decode_int8({**parameters, **dict(trunk.named_buffers())})
    frozen = {n for n, p in parameters.items() if not p.requires_grad and n not in trainable_names}
    names = frozen.union(code_names(trunk))
    resized = re.compile('|'.join(family.resized) or '$')
    return {n: w for n, w in weights.items() if n in names and not resized.fullmatch(n)}


def matches(weights: Mapping[str, Tensor], loaded: Mapping[str, Tensor]) -> bool:
    """Return whether each of ``weights`` that is in ``loaded`` has the same dtype and content."""
    pairs = ((weight, loaded[name]) for name, weight in weights.items() if name in loaded)
    return all(_same(weight, other) for weight, other in pairs)


def fp32_fingerprint(weights: Mapping[str, Tensor], loaded: Mapping[str, Tensor]) -> str:
    """Return the fingerprint of a float32 trunk with ``loaded`` in place of its ``weights``."""
    return fingerprint({name: loaded.get(name, weight).float() for name, weight in weights.items()})


def _same(weight: Tensor, other: Tensor) -> bool:
    return weight.dtype == other.dtype and torch.equal(weight, other.to(weight.device))
