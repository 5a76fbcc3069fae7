"""Repairs of mmengine that configs need."""

from __future__ import annotations

from mmengine._strategy import FSDPStrategy
from mmengine.config.utils import MODULE2PACKAGE
from torch.distributed.fsdp import FullyShardedDataParallel


def find_configs_by_module() -> None:
    """Let ``_base_ = 'mmseg::...'`` find the configs of whatever package provides ``mmseg``.

    mmengine asks for a distribution called ``mmsegmentation``, which the onedl line is not. The
    module's own name serves for both.
    """
    MODULE2PACKAGE['mmseg'] = 'mmseg'


def let_fsdp_resume() -> None:
    """Let mmengine's ``FSDPStrategy`` load the state of an optimiser.

    It gives PyTorch the arguments in the order of PyTorch 2.0, which has changed since.
    """
    FSDPStrategy.load_optim_state_dict = _load_optim_state_dict


def _load_optim_state_dict(self: FSDPStrategy, state_dict: dict) -> None:
    """Load the whole state of an optimiser, by names; each process takes its shards of it."""
    own = FullyShardedDataParallel.optim_state_dict_to_load(
        model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
    )
    self.optim_wrapper.load_state_dict(own)
