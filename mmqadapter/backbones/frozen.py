"""FrozenBackbone: a pretrained trunk that does not train, and the base of all our wrappers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.logging import print_log
from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor, nn

from mmqadapter.backbones.acceleration import (
    compile_modules,
    decoded,
    fuse_attention,
    parse_dtype,
    prepack_weights,
    run_chunked,
    store_blocks,
)
from mmqadapter.backbones.batched_quantizers import quantize_adapters
from mmqadapter.backbones.block_table import find_blocks, find_family, unused_parameters
from mmqadapter.backbones.presets import trainable_parameters
from mmqadapter.backbones.trunk_identity import fingerprint_inputs, fp32_fingerprint, matches
from mmqadapter.quant import quantized_weights
from mmqadapter.registry import MODELS, require_config
from mmqadapter.taskfile.fingerprint import fingerprint
from mmqadapter.utils.accounting import stored_weights
from mmqadapter.utils.sharding import as_built, is_sharded
from mmqadapter.utils.tensor_cache import clear_caches
from mmqadapter.utils.tuned_backbone import TunedBackbone, trained_in_trunk


@MODELS.register_module()
class FrozenBackbone(TunedBackbone):
    """A backbone that is frozen but for what ``train`` names.

    Built in the active scope, loaded once and frozen here, before anything (DDP, an optimiser)
    looks at it. It stays in eval mode. Checkpoints of the plain net load although it sits one
    level deeper, and so do checkpoints that leave the frozen weights out.

    Args:
        backbone: Config of the net. With ``init_cfg=None`` (or no checkpoint) it is random.
        train: ``'partial-k'``, ``'bitfit'``, ``'norm'``, or regexes over parameter names.
        trunk_drop_path: Let the trunk's stochastic depth act during training.
        trunk_dtype: ``'float32'``, or ``'bfloat16'`` or ``'float16'``: the frozen matrices of the
            blocks are stored so, and the blocks run under autocast of that dtype. ``'int8'``:
            linear layers are stored in 8 bits (torchao), the rest as in ``'bfloat16'``. The
            residual stream, norms, adapters and all that trains stay float32; so do the maps.
        fused_attention: Compute attention through ``scaled_dot_product_attention``: the same
            within rounding, faster, and with less kept for backward.
        compiled_mlp: Compute the MLPs of the blocks through ``torch.compile``: the same within
            rounding, faster once the first step has waited for it.
        piecewise_mlp: On a CPU, compute the MLPs of blocks without gradients a thousand tokens at
            a time, in its cache: the same within rounding, faster.

    Raises:
        ValueError: An unknown backbone or ``trunk_dtype``, ``'int8'`` without torchao, or a choice
            in ``train`` that matches nothing.
    """

    def __init__(
        self,
        backbone: dict,
        train: str | Sequence[str] = (),
        trunk_drop_path: bool = False,
        trunk_dtype: str = 'float32',
        fused_attention: bool = False,
        compiled_mlp: bool = False,
        piecewise_mlp: bool = False,
        packed_weights: bool = False,
    ) -> None:
        super().__init__()
        self.trunk_dtype = parse_dtype(trunk_dtype)
        self.trunk = _build(backbone)
        self.adapters = nn.ModuleDict()
        self.family = find_family(self.trunk)
        self.trunk_drop_path = trunk_drop_path
        self.pretrained = self._load_weights()
        choices = _choices(train)
        self._freeze(choices)
        self.tuning_config: dict[str, Any] = {'type': 'FrozenBackbone', 'train': list(choices)}
        self._fingerprint: str | None = self._compute_fingerprint()
        # After freezing: what trains is stored as it was.
        if fused_attention:
            fuse_attention(self.trunk, self.family.fused)
        blocks = find_blocks(self.trunk, self.family).values()
        store_blocks(blocks, self.trunk_dtype)
        mlps = [block.get_submodule(self.family.mlp) for block in blocks]
        if compiled_mlp:
            compile_modules(mlps)
        if piecewise_mlp:
            run_chunked(mlps)
        if packed_weights:
            prepack_weights(self.trunk)
        self.register_forward_pre_hook(quantize_adapters)
        self.train()  # a new module trains: this puts the trunk in eval mode

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the frozen weights as loaded, before ``trunk_dtype`` rounds them.

        Position embeddings that loading fits to the image size are left out.
        """
        if self._fingerprint is None:
            self._fingerprint = self._compute_fingerprint()
        return self._fingerprint

    def init_weights(self) -> None:
        """Nothing: weights were loaded in ``__init__``, so that testing has them as well."""

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        """Feature maps (B, C_i, H_i, W_i) of an image batch (B, 3, H, W)."""
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
        """Load the trunk's weights; whether there were any to load."""
        trunk: Any = self.trunk
        trunk.init_weights()
        init_cfg = getattr(trunk, 'init_cfg', None)
        named = isinstance(init_cfg, dict) and bool(init_cfg.get('checkpoint'))
        return named or bool(getattr(self.trunk, 'pretrained_loaded', False))

    def _freeze(self, choices: Sequence[str]) -> None:
        self.trunk.requires_grad_(False)
        blocks = list(find_blocks(self.trunk, self.family))
        idle = unused_parameters(self.trunk, self.family)
        trainable_names = trainable_parameters(self.trunk, blocks, idle, choices)
        for parameter in trainable_names.values():
            parameter.requires_grad_(True)
        # By name, since a model may be frozen as a whole once it has trained.
        self.trainable_names = frozenset(trainable_names)

    def _compute_fingerprint(self) -> str:
        return fingerprint(fingerprint_inputs(self.trunk, self.family, self.trainable_names))

    def _fingerprint_with(self, given: Mapping[str, Tensor]) -> str | None:
        """Fingerprint once weights, by name in the trunk, are loaded; None: to be taken then."""
        sharded = is_sharded(self.trunk)
        if self.trunk_dtype == torch.float32 and not sharded:
            return None
        with as_built(self.trunk) as trunk:
            weights = fingerprint_inputs(trunk, self.family, self.trainable_names)
        if sharded and (lacking := sorted(weights.keys() - given.keys())):
            raise ValueError(
                f'these weights have {len(given)} tensors of the trunk and lack others, such as '
                f'{lacking[0]!r}: into a trunk that is cut into shards load all of it or none.'
            )
        return self.fingerprint if matches(weights, given) else fp32_fingerprint(weights, given)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        self._insert_trunk_level(state_dict, prefix)
        frozen = self._frozen_state(f'{prefix}trunk.')
        if frozen.keys().isdisjoint(state_dict):
            # A shard cannot stand for the whole; FSDP loads what there is.
            state_dict.update({} if is_sharded(self.trunk) else frozen)
        else:
            _decode(state_dict, frozen)
            of_trunk = [key for key in state_dict if key.startswith(f'{prefix}trunk.')]
            given = {key.removeprefix(f'{prefix}trunk.'): state_dict[key] for key in of_trunk}
            self._fingerprint = self._fingerprint_with(decoded(given))
            weights = {key for key, t in frozen.items() if isinstance(t, nn.Parameter)}
            self.pretrained |= weights <= state_dict.keys()
        if any(key.startswith(f'{prefix}adapters.') for key in state_dict):
            unfold(self.adapters)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _frozen_state(self, prefix: str) -> dict[str, Tensor]:
        """What of the trunk does not train, by its names in checkpoints."""
        with as_built(self.trunk) as trunk:
            state = trunk.state_dict(keep_vars=True)
            trained = trained_in_trunk(trunk, self.trainable_names)
        return {f'{prefix}{name}': t for name, t in state.items() if name not in trained}

    def _insert_trunk_level(self, state_dict: dict, prefix: str) -> None:
        for key in [k for k in state_dict if k.startswith(prefix)]:
            if key[len(prefix) :].partition('.')[0] not in self._modules:
                state_dict[f'{prefix}trunk.{key[len(prefix) :]}'] = state_dict.pop(key)

    def _log_summary(self, what: str) -> None:
        trained = sum(p.numel() for p in self.parameters() if p.requires_grad)
        total = sum(t.numel() for t in stored_weights(self.trunk))
        print_log(
            f'{self.family.name}: {what}; {trained:,} parameters train, trunk of {total:,} in '
            f'{str(self.trunk_dtype).removeprefix("torch.")}.',
            logger='current',
        )


def _choices(train: str | Sequence[str]) -> tuple[str, ...]:
    choices = (train,) if isinstance(train, str) else train
    if not isinstance(choices, (list, tuple)) or not all(isinstance(c, str) for c in choices):
        raise ValueError(
            f'train={train!r} is no choice; give a name or a regex, or a list of them.'
        )
    return tuple(choices)


def _build(backbone: dict) -> nn.Module:
    require_config('backbone', backbone)
    try:
        return ROOT_MODELS.build(ConfigDict(backbone))
    except (KeyError, TypeError) as error:
        raise ValueError(f'backbone={dict(backbone)} cannot be built: {_reason(error)}') from error


def _reason(error: Exception) -> str:
    """A KeyError's text without the quotes that it puts round it."""
    return str(error.args[0]) if error.args else str(error)


def _decode(state_dict: dict, own: Mapping[str, Tensor]) -> None:
    """Turn codes, as an int8 trunk saves them, into float weights; codes of its own layers stay."""
    plain = decoded(state_dict, own)
    state_dict.clear()
    state_dict.update(plain)


def unfold(module: nn.Module) -> None:
    """Let weights that came decoded from a task file be quantised and trained again."""
    for _, quantizer, latent in quantized_weights(module):
        quantizer.fold(None, latent)
        latent.requires_grad_(True)
