"""FrozenBackbone: a pretrained net that does not train, and the base of all our wrappers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.logging import print_log
from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor, nn

from mmqadapter.backbones.acceleration import TrunkOptions, accelerate, decode_int8, with_legacy
from mmqadapter.backbones.build_check import check_build
from mmqadapter.backbones.families import find_family
from mmqadapter.backbones.family import BlockFamily
from mmqadapter.backbones.projections import bypassed_layers
from mmqadapter.backbones.row_check import check_row
from mmqadapter.backbones.select import find_blocks, unused_parameters
from mmqadapter.backbones.trainable import parse_train, trainable_parameters, warn_of_exceptions
from mmqadapter.backbones.trunk_identity import fingerprint_inputs, fp32_fingerprint, matches
from mmqadapter.backbones.weight_source import with_weights
from mmqadapter.quant import quantized_weights
from mmqadapter.registry import MODELS, require_config
from mmqadapter.taskfile.fingerprint import fingerprint
from mmqadapter.utils.accounting import stored_weights
from mmqadapter.utils.sharding import as_built, is_sharded
from mmqadapter.utils.tensor_cache import clear_caches
from mmqadapter.utils.tuned_backbone import TunedBackbone, trained_in_trunk


@MODELS.register_module()
class FrozenBackbone(TunedBackbone):
    """A backbone that is frozen except for what ``train`` names.

    The net is built in the active scope, loaded once and frozen here, before anything (DDP, an
    optimizer) looks at it. It stays in eval mode. Checkpoints of the plain net load although it
    sits one level deeper, and so do checkpoints that leave the frozen weights out.

    Args:
        backbone: Config of the net. With ``init_cfg=None`` (or no checkpoint) it is random.
        train: ``'partial-k'``, ``'bitfit'``, ``'norm'``, or regexes over parameter names.
        trunk_drop_path: Let the trunk's stochastic depth act during training.
        trunk: How the frozen net is stored and computed, such as
            ``dict(dtype='bfloat16', attention='fused')``: the options of
            :class:`mmqadapter.backbones.acceleration.TrunkOptions`. None for the net's own code.
        pretrained: Weight file for the net, as parent models write it into a backbone's config.
        init_cfg: The same, as a config of an initialization.
        **legacy: Arguments of version 0.1.0 that became options of ``trunk``.

    Raises:
        ValueError: An unknown backbone or option, two different sources of weights, ``'int8'``
            without torchao, or an entry of ``train`` that matches nothing.
    """

    def __init__(
        self,
        backbone: dict | None = None,
        train: str | Sequence[str] = (),
        trunk_drop_path: bool = False,
        trunk: Mapping[str, Any] | None = None,
        pretrained: Any = None,
        init_cfg: dict | None = None,
        **legacy: Any,
    ) -> None:
        super().__init__()
        requested = with_legacy(trunk, legacy)
        self.trunk_options = TrunkOptions.parse(requested)
        self.trunk = _build(backbone, pretrained, init_cfg)
        self.adapters = nn.ModuleDict()
        self.family = find_family(self.trunk)
        self.trunk_options = _fitting(self.trunk_options, requested, self.family)
        self.trunk_drop_path = trunk_drop_path
        self.pretrained = self._load_weights()
        blocks = find_blocks(self.trunk, self.family)
        check_row(self.trunk, self.family, blocks)
        self.block_names = tuple(blocks)
        train = parse_train(train)
        self._freeze(train)
        self.tuning_config: dict[str, Any] = {'type': 'FrozenBackbone', 'train': list(train)}
        self._fingerprint: str | None = self._compute_fingerprint()
        # After freezing, since what trains stays as it is.
        mlp, fused = self.family.mlp, self.family.fused
        layers = list(blocks.values())
        bypassed = bypassed_layers(layers, self.family)
        accelerate(self.trunk, layers, mlp, fused, self.trunk_options, bypassed)
        if train:
            check_build(self.trunk, self.family, self.block_names)
        self.train()  # a new module is in training mode: this puts the trunk in eval mode

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the frozen weights as loaded, before ``trunk.dtype`` rounds them.

        Position embeddings that loading resizes to the image size are left out.
        """
        if self._fingerprint is None:
            self._fingerprint = self._compute_fingerprint()
        return self._fingerprint

    @property
    def blocks(self) -> dict[str, nn.Module]:
        """Blocks of the trunk that reach an output, by full name, in execution order."""
        return {name: self.trunk.get_submodule(name) for name in self.block_names}

    def init_weights(self) -> None:
        """Do nothing: ``__init__`` loaded the weights, so that testing has them as well."""

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        """Return feature maps (B, C_i, H_i, W_i) of an image batch (B, 3, H, W)."""
        return self.trunk(x)

    def train(self, mode: bool = True) -> FrozenBackbone:
        """Set the mode of what trains; the trunk stays in eval mode."""
        super().train(mode)
        self.trunk.eval()
        clear_caches(self)
        for module in self.trunk.modules():
            if self.trunk_drop_path and type(module).__name__ == 'DropPath':
                module.train(mode)
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> FrozenBackbone:
        _ = self.fingerprint  # of the weights as loaded, before a cast changes them
        return super()._apply(fn, recurse)

    def _load_weights(self) -> bool:
        """Load the trunk's weights; return whether there were any to load."""
        trunk: Any = self.trunk
        trunk.init_weights()
        init_cfg = getattr(trunk, 'init_cfg', None)
        named = isinstance(init_cfg, dict) and bool(init_cfg.get('checkpoint'))
        return named or bool(getattr(self.trunk, 'pretrained_loaded', False))

    def _freeze(self, train: Sequence[str]) -> None:
        self.trunk.requires_grad_(False)
        warn_of_exceptions(self.trunk, train)
        unused = unused_parameters(self.trunk, self.family)
        selected = trainable_parameters(self.trunk, self.block_names, unused, train)
        for parameter in selected.values():
            parameter.requires_grad_(True)
        # By name, since a model may be frozen as a whole once it has trained.
        self.trainable_names = frozenset(selected)

    def _compute_fingerprint(self) -> str:
        return fingerprint(fingerprint_inputs(self.trunk, self.family, self.trainable_names))

    def _fingerprint_with(self, loaded: Mapping[str, Tensor]) -> str | None:
        """Return the fingerprint after ``loaded``, by trunk name, is in; None: take it then."""
        sharded = is_sharded(self.trunk)
        if self.trunk_options.torch_dtype == torch.float32 and not sharded:
            return None
        with as_built(self.trunk) as trunk:
            weights = fingerprint_inputs(trunk, self.family, self.trainable_names)
        if sharded and (missing := sorted(weights.keys() - loaded.keys())):
            raise ValueError(
                f'these weights have {len(loaded)} tensors of the trunk and lack others, such as '
                f'{missing[0]!r}: into a trunk that is cut into shards load all of it or none.'
            )
        return self.fingerprint if matches(weights, loaded) else fp32_fingerprint(weights, loaded)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        self._insert_trunk_level(state_dict, prefix)
        frozen = self._frozen_state(f'{prefix}trunk.')
        if frozen.keys().isdisjoint(state_dict):
            # A shard cannot stand for the whole; FSDP loads what there is.
            state_dict.update({} if is_sharded(self.trunk) else frozen)
        else:
            _decode(state_dict, frozen)
            of_trunk = [key for key in state_dict if key.startswith(f'{prefix}trunk.')]
            loaded = {key.removeprefix(f'{prefix}trunk.'): state_dict[key] for key in of_trunk}
            self._fingerprint = self._fingerprint_with(decode_int8(loaded))
            weights = {key for key, t in frozen.items() if isinstance(t, nn.Parameter)}
            self.pretrained |= weights <= state_dict.keys()
        if any(key.startswith(f'{prefix}adapters.') for key in state_dict):
            unfold(self.adapters)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _frozen_state(self, prefix: str) -> dict[str, Tensor]:
        """Return the trunk tensors that do not train, by their names in checkpoints."""
        with as_built(self.trunk) as trunk:
            state = trunk.state_dict(keep_vars=True)
            trained = trained_in_trunk(trunk, self.trainable_names)
        return {f'{prefix}{name}': t for name, t in state.items() if name not in trained}

    def _insert_trunk_level(self, state_dict: dict, prefix: str) -> None:
        for key in [k for k in state_dict if k.startswith(prefix)]:
            if key[len(prefix) :].partition('.')[0] not in self._modules:
                state_dict[f'{prefix}trunk.{key[len(prefix) :]}'] = state_dict.pop(key)

    @property
    def summary(self) -> str:
        """The setting ``train``, in a few words."""
        return f'train={self.tuning_config["train"]}'

    def extra_repr(self) -> str:
        """Return what trains and how the trunk is computed, for ``print(model)``."""
        family = f'family={self.family.name!r}, blocks={len(self.block_names)}'
        return f'{family}\n{self.summary}\ntrunk: {self.trunk_options}'

    def _log_summary(self) -> None:
        trained = sum(p.numel() for p in self.parameters() if p.requires_grad)
        total = sum(t.numel() for t in stored_weights(self.trunk))
        print_log(
            f'{self.family.name}: {self.summary}; {trained:,} parameters train, trunk of {total:,} '
            f'({self.trunk_options}).',
            logger='current',
        )


def _build(backbone: dict | None, pretrained: Any, init_cfg: Any) -> nn.Module:
    config = with_weights(require_config('backbone', backbone), pretrained, init_cfg)
    try:
        return ROOT_MODELS.build(ConfigDict(config))
    except (KeyError, TypeError) as error:
        reason = _missing_package(config) or _reason(error)
        raise ValueError(f'backbone={config} cannot be built: {reason}') from error


def _fitting(
    options: TrunkOptions, requested: Mapping[str, Any] | None, family: BlockFamily
) -> TrunkOptions:
    """Return the options that a family has; raise a ValueError for one that was asked for."""
    if options.dtype == 'float16' and not family.float16:
        raise ValueError(
            f"trunk.dtype='float16' is invalid for {family.name}, whose attention divides by "
            "numbers that are 0 in it: use 'bfloat16'."
        )
    return options if family.mlp else options.without_chunks(requested, family.name)


def _missing_package(config: Mapping[str, Any]) -> str:
    """Return what to install for a net of mmpretrain; empty if that is not the cause."""
    named = str(config.get('type')).startswith('mmpretrain.')
    if not named or find_spec('mmpretrain'):
        return ''
    return "mmpretrain is not installed; run `pip install 'mmqadapter[cls]'`."


def _reason(error: Exception) -> str:
    """Return the text of an error, without the quotes that a KeyError adds."""
    return str(error.args[0]) if error.args else str(error)


def _decode(state_dict: dict, own: Mapping[str, Tensor]) -> None:
    """Decode int8 weights in ``state_dict``, but for those of layers that are int8 themselves."""
    plain = decode_int8(state_dict, own)
    state_dict.clear()
    state_dict.update(plain)


def unfold(module: nn.Module) -> None:
    """Let weights that a task file brought decoded be quantized and trained again."""
    for _, quantizer, latent in quantized_weights(module):
        quantizer.fold(None, latent)
        latent.requires_grad_(True)
