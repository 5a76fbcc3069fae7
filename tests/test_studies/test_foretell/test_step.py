"""Peak memory of a training step, foretold and real."""

from __future__ import annotations

import pytest
from small_models import CHANGES, real_peak, settings, small_config

from mmqadapter.studies.benchmark.methods import parse_methods
from mmqadapter.studies.benchmark.model import plain_config
from mmqadapter.studies.foretell.step import OutlinedModel


def foretold_peak(name: str, method: str, on_gpu: bool = False, **options) -> int:
    cfg = small_config(name)
    chosen = settings(cfg, **options)
    (parsed,) = parse_methods(method)
    return OutlinedModel(plain_config(cfg, chosen), parsed, on_gpu).peak_bytes(chosen)


@pytest.mark.parametrize('method', ['full', 'frozen', 'lora', 'highway-joined@1'])
@pytest.mark.parametrize('name', CHANGES)
def test_foretold_is_what_a_real_step_needs(name: str, method: str) -> None:
    real = real_peak(small_config(name), method)
    assert foretold_peak(name, method) == pytest.approx(real, rel=0.02)
