"""Sort the shipped configs: does not load, has no model, has a backbone that we refuse, or runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from benchmarks.peer_configs.check import words_of
from benchmarks.peer_configs.configs import (
    backbone_parent,
    build,
    config_root,
    find_row,
    head_type,
    load,
    nodes,
    wrapped,
)
from benchmarks.peer_configs.cuts import cut

REFUSALS: dict[str, str] = {}  # words by backbone


def survey(name: str) -> dict[str, Any]:
    """Return what is known about a config without running it.

    Returns:
        A row with ``config`` and, as far as they apply: ``broken`` (words of the error when it is
        loaded), ``model``, ``backbone``, ``head``, ``refused`` (words of our wrapper) and ``group``
        (equal for configs that are equal after the cuts, and are to be run).
    """
    row: dict[str, Any] = {'config': name}
    try:
        cfg = load(name)
    except Exception as error:  # whatever it is, it is the result
        root = config_root(name.partition('/')[0])
        return {**row, 'broken': words_of(error).replace(str(root), '...')}
    if not cfg.get('model'):
        return row
    found = backbone_parent(cfg.model)
    net = found[0][found[1]] if found else {}
    kind = str(net.get('type', 'none'))
    row.update(model=str(cfg.model.type), backbone=kind, head=head_type(cfg.model))
    package = name.partition('/')[0]
    init_default_scope(package)
    if net and find_row(package, net):
        return {**row, 'group': group_of(cfg)}
    return {**row, 'refused': refusal(package, net) if net else 'the model has no backbone'}


def group_of(cfg: Config) -> str:
    """Return a short digest of what a run depends on."""
    text = json.dumps([cfg.default_scope, cut(cfg).model.to_dict()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def refusal(package: str, net: Any) -> str:
    """Return the words with which a wrapper refuses a backbone; '' if it does not."""
    net = Config({'net': net.to_dict()}).net
    for _, node in nodes(net):
        node.pop('pretrained', None)
        node.pop('init_cfg', None)
    key = repr((package, net))
    if key not in REFUSALS:
        REFUSALS[key] = try_to_build(net)
    return REFUSALS[key]


def try_to_build(net: Any) -> str:
    """Return the words of the error when a net is built in a wrapper; '' for none."""
    try:
        build(wrapped(ConfigDict(backbone=net), 'in path').backbone)
    except Exception as error:
        words = words_of(error)
        # The whole config of the net would make a row of its own of each depth.
        return re.sub(r'^(ValueError: backbone=){.*} cannot', r'\1{...} cannot', words)
    return ''


def survey_all(
    names: list[str], known: dict[str, dict[str, Any]], note: Callable[[dict[str, Any]], None]
) -> None:
    """Survey all configs that are not yet known, and note each row."""
    for name in names:
        if name not in known:
            note(survey(name))
