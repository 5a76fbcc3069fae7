"""Sites of prompts: tokens that a block has besides those of the image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mmqadapter.adapters import Prompts
from mmqadapter.backbones.family import BlockFamily


class PromptSite:
    """Prompts that enter a block before its tokens and leave behind it, so that outputs have none.

    Args:
        adapter: The prompts.
        block: The block.
        family: Its row.

    Raises:
        ValueError: Blocks of the family do not take any number of tokens.
    """

    def __init__(self, adapter: Prompts, block: nn.Module, family: BlockFamily) -> None:
        if not family.any_tokens:
            raise ValueError(
                f'adapter type {type(adapter).__name__!r} is invalid for {family.name}, whose '
                'blocks take the tokens of a grid alone: use a plain ViT, or another adapter.'
            )
        self.adapter, self.length = adapter, 0
        self._hook(block)

    def _hook(self, block: nn.Module) -> None:
        block.register_forward_pre_hook(self._enter)
        block.register_forward_hook(self._leave)

    def _enter(self, module: nn.Module, args: tuple) -> tuple:
        return self._joined(None, *args)

    def _joined(self, prompts: Tensor | None, tokens: Tensor, *others: object) -> tuple:
        self.length = tokens.shape[1]
        return (self.adapter(prompts, tokens), *others)

    def _leave(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        return output[:, -self.length :]


class CarriedPromptSite(PromptSite):
    """Prompts that enter the first of several blocks; what each makes of them enters the next one.

    Args:
        adapter: The prompts.
        blocks: The blocks, in execution order.
        family: Their row.

    Raises:
        ValueError: Blocks of the family do not take any number of tokens.
    """

    def __init__(self, adapter: Prompts, blocks: Sequence[nn.Module], family: BlockFamily) -> None:
        self.held: Tensor | None = None
        self.ends = blocks[0], blocks[-1]
        super().__init__(adapter, blocks[0], family)
        for block in blocks[1:]:
            self._hook(block)

    def _enter(self, module: nn.Module, args: tuple) -> tuple:
        return self._joined(None if module is self.ends[0] else self.held, *args)

    def _leave(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        self.held = None if module is self.ends[1] else output[:, : -self.length]
        return super()._leave(module, args, output)
