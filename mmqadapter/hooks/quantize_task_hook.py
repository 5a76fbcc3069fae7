"""Quantization-aware training of neck and head."""

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
    """Hook that trains neck and head at the few bits that their task file will have.

    From the first step on, linear and (transposed) convolutional layers compute with weights of
    1, 2, 4 or 8 bits, with one mean and one deviation per output channel. All other parameters
    outside the adapters are rounded to float16; buffers are not changed. The optimizer,
    checkpoints and an EMA hook hold the latent float32 parameters under their usual names, so a
    float model can start from such a checkpoint and the other way round. Task files hold the
    trained codes exactly.

    Args:
        bits: One number for all layers, or numbers by regex over names of layers, such as
            ``{'decode_head.*': 4, 'decode_head.conv_seg': 8}``: the last regex that matches a
            whole name counts, and a layer that none matches has 16 bits.

    Raises:
        ValueError: A number of bits is not supported, or a pattern is not a valid regex.
    """

    priority = 'VERY_HIGH'  # before an EMA hook copies the model

    def __init__(self, bits: int | Mapping[str, int]) -> None:
        check_head_bits(bits)
        if bits == 32:
            raise ValueError(
                'bits=32 is invalid: expected at most 16; to train in float, leave '
                'QuantizeTaskHook out.'
            )
        self.bits = dict(bits) if isinstance(bits, Mapping) else bits
        self._trained: dict[str, int] = {}

    def before_run(self, runner: Runner) -> None:
        """Quantize the model that is about to train; its optimizer exists already.

        Raises:
            ValueError: A pattern matches no layer, the model has no wrapped backbone, or
                custom_hooks lists QuantizeTaskHook twice.
        """
        # All runs call this, but only `Runner.train` builds the train loop, and does so before.
        if self._trained or not isinstance(runner._train_loop, BaseLoop):
            return
        model = unwrap_model(runner.model)
        if trained_bits(model):
            raise ValueError(
                'custom_hooks lists QuantizeTaskHook twice; put all patterns into one of them.'
            )
        # Initialize first: initializers write in place, into the computed value of a quantized
        # weight, where it would be lost. mmengine's own call comes later, does nothing, and warns
        # that it is the second.
        runner._init_model_weights()
        self._trained = layer_bits(model, self.bits)
        train_quantized(model, self._trained)
        counts = Counter(f'{bits} bits' for bits in self._trained.values())
        runner.logger.info(f'Layers of neck and head that train at few bits: {dict(counts)}.')

    def before_train_epoch(self, runner: Runner) -> None:
        """Check that the weights of each layer can be quantized.

        This cannot happen earlier, because other hooks load weights in ``before_train``.

        Raises:
            ValueError: The weights of a layer are constant, such as zero.
        """
        check_spread(unwrap_model(runner.model))

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Sequence[dict] | None = None
    ) -> None:
        """Quantize all layers in a few calls; a layer that runs several times uses one value."""
        quantize_beside_backbone(unwrap_model(runner.model))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the bits of each layer."""
        checkpoint[KEY] = trained_bits(unwrap_model(runner.model))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check that a training resumes with the same bits; in a test, use the checkpoint's bits.

        Raises:
            ValueError: A training resumes with other bits.
        """
        saved = dict(checkpoint.get(KEY) or {})
        if not self._trained:
            train_quantized(unwrap_model(runner.model), saved)
        elif runner._resume and not saved:
            raise ValueError(
                'the checkpoint was trained in float, but this config has a QuantizeTaskHook: '
                'resume without the hook, or start from the checkpoint with load_from and without '
                'resuming.'
            )
        elif runner._resume and saved != self._trained:
            layer, *_ = sorted(name for name, _ in saved.items() ^ self._trained.items())
            raise ValueError(
                f'the checkpoint was trained with {saved.get(layer)} bits in {layer!r}, but this '
                f'config has {self._trained.get(layer)}; resume with the QuantizeTaskHook that it '
                'was trained with.'
            )
