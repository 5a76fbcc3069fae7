"""Autocast of outside, inside of another one."""

from __future__ import annotations

import torch

from mmqadapter.backbones.acceleration import Autocast

ONE = torch.ones(1, 1)


def test_as_it_was_outside() -> None:
    plain = Autocast.now('cpu')
    with torch.autocast('cpu', torch.float16):
        outside = Autocast.now('cpu')
        with torch.autocast('cpu', torch.bfloat16):
            with plain.again():
                assert (ONE @ ONE).dtype == torch.float32
            with outside.again():
                assert (ONE @ ONE).dtype == torch.float16
            assert (ONE @ ONE).dtype == torch.bfloat16
    assert (plain.enabled, outside.enabled) == (False, True)


def test_device_without_autocast() -> None:
    with Autocast.now('meta').again():
        assert (ONE.to('meta') @ ONE.to('meta')).dtype == torch.float32
