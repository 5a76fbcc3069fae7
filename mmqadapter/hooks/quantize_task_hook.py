"""Trains neck and head with the few bits that their task file will have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner

from mmqadapter.backbones.batched_quantizers import quantize_beside_backbone
from mmqadapter.registry import HOOKS
from mmqadapter.taskfile.head_bits import (
    KEY,
    check_head_bits,
    check_spread,
    layer_bits,
    train_quantized,
    trained_bits,
)
from mmqadapter.utils.model_wrapping import unwrap_model


@HOOKS.register_module()
class QuantizeTaskHook(Hook):
    """Quantisation-aware training of neck and head.

    From the first step on, linear and (transposed) convolutional layers compute with weights of
    1, 2, 4 or 8 bits, with a mean and a deviation per output channel; all other parameters outside
    the adapters are rounded to float16, buffers are left alone. The optimiser, checkpoints and an
    EMA hook keep the latent float32 parameters under their usual names, so a float model can start
    from such a checkpoint and the other way round. Task files hold the trained bits exactly.

    Args:
        bits: One number for all layers, or numbers by regex over layers' names, such as
            ``{'decode_head.*': 4, 'decode_head.conv_seg': 8}``: the last one that matches a whole
            name counts, and 16 bits where none does.

    Raises:
        ValueError: A number of bits that is not supported, or a pattern that is no regex.
    """

    priority = 'VERY_HIGH'  # before an EMA hook copies the model

    def __init__(self, bits: int | Mapping[str, int]) -> None:
        check_head_bits(bits)
        if bits == 32:
            raise ValueError('bits=32 quantises nothing; leave QuantizeTaskHook out.')
        self.bits = dict(bits) if isinstance(bits, Mapping) else bits
        self._trained: dict[str, int] = {}

    def before_run(self, runner: Runner) -> None:
        """Quantise the model that is about to train; the optimiser holds its parameters already.

        Raises:
            ValueError: A pattern that matches no layer, or no wrapped backbone.
        """
        # Loops are built before `before_run`, and the train loop by `Runner.train` alone.
        if self._trained or not isinstance(runner._train_loop, BaseLoop):
            return
        model = unwrap_model(runner.model)
        if trained_bits(model):
            raise ValueError('QuantizeTaskHook is there twice; give one of them all patterns.')
        # Now: initialisers write in place, which the value of a quantised weight would swallow.
        # mmengine's own call comes later, does nothing, and warns that it is the second.
        runner._init_model_weights()
        self._trained = layer_bits(model, self.bits)
        train_quantized(model, self._trained)
        told = Counter(f'{bits} bits' for bits in self._trained.values())
        runner.logger.info(f'Layers of neck and head that train at few bits: {dict(told)}.')

    def before_train_epoch(self, runner: Runner) -> None:
        """Check that there is something to quantise in each layer.

        Not earlier: other hooks load weights in ``before_train``.

        Raises:
            ValueError: A layer that is constant, as some start at zero.
        """
        check_spread(unwrap_model(runner.model))

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Sequence[dict] | None = None
    ) -> None:
        """Quantise all layers in a few calls; one that runs several times reads one value."""
        quantize_beside_backbone(unwrap_model(runner.model))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note the bits of each layer."""
        checkpoint[KEY] = trained_bits(unwrap_model(runner.model))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Resume with the same bits; in a test, compute with those of the checkpoint.

        Raises:
            ValueError: A training resumes with other bits.
        """
        saved = dict(checkpoint.get(KEY) or {})
        if not self._trained:
            train_quantized(unwrap_model(runner.model), saved)
        elif runner._resume and not saved:
            raise ValueError(
                'the checkpoint was trained in float, this config has a QuantizeTaskHook: resume '
                'without the hook, or start from the checkpoint with load_from and without '
                'resuming.'
            )
        elif runner._resume and saved != self._trained:
            differing = sorted(name for name, _ in saved.items() ^ self._trained.items())
            raise ValueError(
                f'the checkpoint was trained with other bits in {differing[0]!r}: '
                f'{saved.get(differing[0])} there, {self._trained.get(differing[0])} in this '
                'config; resume with the QuantizeTaskHook that it was trained with.'
            )
