"""All patches of mmengine, mmdet, mmseg and mmpretrain: what each works around, and when it can go.

``import mmqadapter`` applies the patches of mmengine, and those of others once they are imported.
Those that are context managers last for the block that they enclose.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any

import torch
import torch.utils.checkpoint
from mmengine._strategy import FSDPStrategy
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import Registry
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel

from mmqadapter.checkpoints.safe_load import allowed_globals, unsafe_file_error, weights_only
from mmqadapter.compat.safe_globals import safe_globals
from mmqadapter.engine.optim import grouping_by_part
from mmqadapter.engine.task_loading import accept_task_files, refuse_task_file
from mmqadapter.utils.shipped import SCOPE, find_base
from mmqadapter.utils.tuned_backbone import tuned_backbone

TRUST = 'MMQADAPTER_TRUST_CHECKPOINTS'
LAMB = 'mmpretrain.engine.optimizers.lamb'
GROUNDING_DINO = 'mmdet.models.layers.transformer.grounding_dino_layers'


def patch_mmengine() -> None:
    """Apply all patches that last; a second call changes nothing."""
    find_configs_by_module()
    find_shipped_configs()
    guard_checkpoint_loading()
    fix_fsdp_resume()
    train_adapters_as_new()
    patch_packages_once_imported()
    accept_task_files()


def find_configs_by_module() -> None:
    """Let ``_base_ = 'mmseg::...'`` find the configs of any distribution that provides ``mmseg``.

    mmengine looks for a distribution called ``mmsegmentation``, but the maintained line is called
    ``onedl-mmsegmentation``. The name of the module finds both.

    Remove when mmengine finds a package's configs by the name of its module.
    """
    MODULE2PACKAGE.update(mmseg='mmseg', mmpretrain='mmpretrain')


def find_shipped_configs() -> None:
    """Let ``_base_`` and ``mmengine.hub.get_config`` find ``'mmqadapter::...'``.

    mmengine has a closed list of packages. It also marks all that comes from a package as of the
    scope of that package, in which the parts of mmdet and mmseg that our configs name would not be
    found; our own classes are named with their scope.

    For ``get_config`` the package is a submodule. No distribution has this name, so that mmengine
    looks where Python imports it from: an editable install is not in site-packages.

    Remove when mmengine lets a package register its configs, without a scope.
    """
    MODULE2PACKAGE['mmqadapter'] = 'mmqadapter.version'
    locate = Config._get_cfg_path
    if hasattr(locate, '__wrapped__'):
        return

    @functools.wraps(locate)
    def locate_shipped(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if cfg_path.startswith(SCOPE):
            return str(find_base(cfg_path)), None
        return locate(cfg_path, filename)

    Config._get_cfg_path = staticmethod(locate_shipped)


def guard_checkpoint_loading() -> None:
    """Let mmengine load checkpoints without running code in them (resume, load_from, init_cfg).

    mmengine reads a file with ``weights_only=True``, but if that fails it warns and reads it again
    with ``weights_only=False``. With this patch such a file raises a ValueError, unless the
    environment variable MMQADAPTER_TRUST_CHECKPOINTS is 1.

    Remove when mmengine no longer falls back to ``weights_only=False``, and its own checkpoints
    (message hub, numpy scalars) load with ``weights_only=True``.
    """
    load = CheckpointLoader.load_checkpoint.__func__
    if hasattr(load, '__wrapped__'):
        return

    @functools.wraps(load)
    def guarded(cls: type, filename: str, *args: Any, **kwargs: Any) -> Any:
        refuse_task_file(filename)
        if os.environ.get(TRUST) == '1':
            return load(cls, filename, *args, **kwargs)
        try:
            with weights_only(), safe_globals(allowed_globals()):
                return load(cls, filename, *args, **kwargs)
        except UnpicklingError as error:
            raise unsafe_file_error(filename, error, f'{TRUST}=1') from error

    CheckpointLoader.load_checkpoint = classmethod(guarded)


def fix_fsdp_resume() -> None:
    """Let mmengine's ``FSDPStrategy`` restore the state of an optimizer when a run resumes.

    It passes the arguments of ``optim_state_dict_to_load`` by position, in the order of
    PyTorch 2.0; PyTorch 2.1 changed that order.

    Remove when ``FSDPStrategy.load_optim_state_dict`` passes them by keyword.
    """
    FSDPStrategy.load_optim_state_dict = _load_optim_state_dict


def _load_optim_state_dict(self: FSDPStrategy, state_dict: dict) -> None:
    """Load the whole state of an optimizer, by names; each process takes its shards of it."""
    shards = FullyShardedDataParallel.optim_state_dict_to_load(
        model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
    )
    self.optim_wrapper.load_state_dict(shards)


def train_adapters_as_new() -> None:
    """Let any constructor of optimizers give adapters the rate and decay of new parameters.

    Configs slow the pretrained backbone down with keys such as ``'backbone': dict(lr_mult=0.1)``.
    mmengine matches them against whole names, so that they would hold for the new adapters inside
    the wrapper of a backbone as well. Models without our wrapper are left alone.

    Remove when mmengine lets a module say which settings its parameters take.
    """
    build = DefaultOptimWrapperConstructor.__call__
    if hasattr(build, '__wrapped__'):
        return

    @functools.wraps(build)
    def by_part(self: DefaultOptimWrapperConstructor, model: nn.Module) -> OptimWrapper:
        if tuned_backbone(model) is None:
            return build(self, model)
        with grouping_by_part(self, model) as plain:
            return build(self, plain)

    DefaultOptimWrapperConstructor.__call__ = by_part


def patch_packages_once_imported() -> None:
    """Let registries fix mmdet's GroundingDINO and mmpretrain's LAMB once these are imported."""
    stock = Registry.import_from_location
    if hasattr(stock, '__wrapped__'):
        return

    @functools.wraps(stock)
    def import_and_patch(registry: Registry) -> None:
        stock(registry)
        fix_grounding_dino()
        fix_lamb()

    Registry.import_from_location = import_and_patch


def fix_grounding_dino() -> None:
    """Let the decoder of GroundingDINO run, as far as mmdet is imported; else do nothing.

    mmdet's DINO decoder encodes a reference box in ``4 * num_feats`` values. Up to mmdet 3.3,
    ``num_feats`` was half of the channels. onedl-mmdetection 3.5 doubled it for decoders of any
    width, together with the input of DINO's ``ref_point_head``. The decoder of GroundingDINO
    inherits the first change and overrides the second: 1,024 values meet a layer of 512 inputs,
    which is also the size in the released checkpoints.

    Remove when ``GroundingDinoTransformerDecoder`` of onedl-mmdetection runs.
    """
    decoder = getattr(sys.modules.get(GROUNDING_DINO), 'GroundingDinoTransformerDecoder', None)
    if decoder is None or hasattr(decoder._init_layers, '__wrapped__'):
        return
    stock = decoder._init_layers

    @functools.wraps(stock)
    def init_layers(self: Any) -> None:
        stock(self)
        self.ref_point_head.register_forward_pre_hook(_fit_encoding)

    decoder._init_layers = init_layers


def fix_lamb() -> None:
    """Let mmpretrain's LAMB train scalars, as far as it is imported; else do nothing.

    It divides each gradient in place by a norm of shape (1,), which a scalar such as the learned
    scale of an adapter cannot take. Scalars get this shape for the time of a step.

    Remove when ``Lamb`` of onedl-mmpretrain takes parameters without axes.
    """
    lamb = getattr(sys.modules.get(LAMB), 'Lamb', None)
    if lamb is None or hasattr(lamb.step, 'takes_scalars'):  # `no_grad` wraps it as well
        return
    stock = lamb.step

    @functools.wraps(stock)
    def step(self: Any, closure: Any = None) -> Any:
        scalars = [p for group in self.param_groups for p in group['params'] if not p.dim()]
        _reshape(scalars, (1,))
        try:
            return stock(self, closure)
        finally:
            _reshape(scalars, ())

    step.takes_scalars = True  # type: ignore[attr-defined]
    lamb.step = step


def _reshape(parameters: list[nn.Parameter], shape: tuple[int, ...]) -> None:
    for parameter in parameters:
        gradient, parameter.grad = parameter.grad, None
        parameter.data = parameter.data.view(shape)
        parameter.grad = None if gradient is None else gradient.view(shape)


def _fit_encoding(head: Any, inputs: tuple[Tensor]) -> Tensor | None:
    """Return the encoding of ``num_feats`` frequencies out of that of twice as many.

    The latter has, for each of four coordinates, pairs (sine, cosine) of frequencies of which every
    other one belongs to the former.
    """
    (encoding,) = inputs
    expected = head.layers[0].in_features
    if encoding.shape[-1] != 2 * expected:
        return None
    return encoding.unflatten(-1, (-1, 4))[..., :2].flatten(-2)


@contextmanager
def non_reentrant_checkpoints() -> Iterator[None]:
    """Let activation checkpointing in mmdet and mmseg be of the non-reentrant kind in this block.

    Their backbones call ``torch.utils.checkpoint.checkpoint`` without ``use_reentrant``, and
    PyTorch's default is the reentrant kind, which computes no gradients in a block none of whose
    inputs needs one.

    Remove when the backbones pass ``use_reentrant=False``, or PyTorch makes it the default.
    """
    stock = torch.utils.checkpoint.checkpoint
    torch.utils.checkpoint.checkpoint = functools.partial(stock, use_reentrant=False)
    try:
        yield
    finally:
        torch.utils.checkpoint.checkpoint = stock
