"""Choices of the user for a new config."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Choices:
    """Choices of the user; None stands for a proposal from data and machine.

    Attributes:
        model: Short name of a backbone, or a name of timm.
        method: ``highway``, ``adapter``, ``lora``, ``mona``, ``frozen`` or ``full``.
        bits: Bits per weight of the adapters.
        classes: Names of the classes, in the order of their numbers.
        format: Key of ``formats.FORMATS``.
        checkpoint: File with the weights of the backbone, instead of those of timm.
        batch: Images per step and GPU.
        iterations: Steps of the training.
        seed: Seed of the split, if the data have none.
    """

    model: str = 'vit-tiny'
    method: str = 'highway'
    bits: int = 1
    classes: tuple[str, ...] | None = None
    format: str | None = None
    checkpoint: str | None = None
    batch: int | None = None
    iterations: int | None = None
    seed: int = 0

    def check_numbers(self) -> None:
        """Check the numbers that are given.

        Raises:
            ValueError: One is too small.
        """
        for name, least in (('iterations', 2), ('batch', 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f'{name}={value} is invalid: expected {least} or more.')
