"""AutocastState: a captured state is restored within another one."""

from __future__ import annotations

import torch

from mmqadapter.utils.autocast import AutocastState

ONE = torch.ones(1, 1)


def test_restores_the_captured_state() -> None:
    plain = AutocastState.capture('cpu')
    with torch.autocast('cpu', torch.float16):
        outside = AutocastState.capture('cpu')
        with torch.autocast('cpu', torch.bfloat16):
            with plain.restore():
                assert (ONE @ ONE).dtype == torch.float32
            with outside.restore():
                assert (ONE @ ONE).dtype == torch.float16
            assert (ONE @ ONE).dtype == torch.bfloat16
    assert (plain.enabled, outside.enabled) == (False, True)


def test_device_without_autocast() -> None:
    with AutocastState.capture('meta').restore():
        assert (ONE.to('meta') @ ONE.to('meta')).dtype == torch.float32
