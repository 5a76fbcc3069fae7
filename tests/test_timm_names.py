"""Names of timm in our wrappers: a sample, and the table of docs/compatibility.md."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.registry import MODELS

from benchmarks.timm_names import (
    CUTS,
    METHODS,
    PAGE,
    WORKS,
    build,
    config_of,
    find_faults,
    image_for,
    outcome,
    read_rows,
    run,
    table,
)
from benchmarks.timm_names_list import NAMES

CUT = CUTS[0]


def wrapped(method: str) -> Any:
    config = dict(METHODS[method], backbone=config_of('test_vit', CUT))
    torch.manual_seed(0)
    return MODELS.build(dict(config, type=f'mmqadapter.{config["type"]}'))


def test_a_net_that_works() -> None:
    row = run('test_vit')
    assert row['net'] == 'VisionTransformer' and row['cut'] == CUT
    assert {row[method] for method in METHODS} == {WORKS}


def test_nets_that_are_refused() -> None:
    assert 'timm builds Nest, which is not supported' in run('nest_tiny')['refused']
    assert run('vit_small_patch16_18x2_224')['AdaptFormer'].startswith('refused: model.blocks.0')


@pytest.mark.parametrize('method', ['AdaptFormer', 'highway'])
def test_faults_are_found(method: str) -> None:
    net, image = build('test_vit', CUT), image_for(CUT)
    other = wrapped(method)  # with weights of its own
    assert next(find_faults(net, other, image)) == 'it does not start as the bare net'
    other.load_state_dict(net.state_dict(), strict=False)
    next(other.adapters.parameters()).requires_grad_(False)
    assert next(find_faults(net, other, image)).startswith('1 parameters without a gradient, such')
    other = wrapped('AdaptFormer')
    other.load_state_dict(net.state_dict(), strict=False)
    other.trunk.requires_grad_(True)
    assert 'a gradient in the trunk' in list(find_faults(net, other, image))


def test_outcomes_in_words() -> None:
    net = build('test_vit', CUT)
    config = dict(METHODS['AdaptFormer'], backbone=config_of('test_vit', CUT))
    assert outcome(net, config) == WORKS
    assert outcome(net, {**config, 'blocks': 'none'}).startswith("refused: blocks='none'")


def test_the_page_shows_the_results() -> None:
    rows = read_rows()
    assert rows.keys() == set(NAMES)
    assert table(rows.values()) in PAGE.read_text(encoding='utf-8')
