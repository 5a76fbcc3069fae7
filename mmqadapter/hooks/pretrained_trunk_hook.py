"""Check that a frozen trunk has pretrained weights."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmqadapter.registry import HOOKS
from mmqadapter.utils.tuned_backbone import tuned_backbone


@HOOKS.register_module()
class PretrainedTrunkHook(Hook):
    """Hook that stops a run before training if its frozen trunk has random weights.

    Args:
        allow_random: Train beside a random trunk all the same, for tests and for benchmarks of
            memory and time.
    """

    def __init__(self, allow_random: bool = False) -> None:
        self.allow_random = allow_random

    def before_train(self, runner: Runner) -> None:
        """Check the trunk.

        Raises:
            ValueError: The trunk is random and ``allow_random`` is False.
        """
        backbone = tuned_backbone(runner.model)
        if backbone is None or backbone.pretrained or self.allow_random:
            return
        raise ValueError(
            f'the frozen trunk {type(backbone.trunk).__name__} is random: its config loads no '
            'checkpoint. Set init_cfg=dict(type="Pretrained", checkpoint=...) (timm: checkpoint=) '
            'or load_from; if a random trunk is intended, PretrainedTrunkHook(allow_random=True).'
        )
