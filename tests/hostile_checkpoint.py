"""A checkpoint that runs code when it is unpickled, for the tests of everything that reads one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


class RunsCode:
    """Object whose unpickling creates the file ``proof``."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple:
        return Path.touch, (self.proof,)


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    """A file that exists once the code of the checkpoint has run."""
    return tmp_path / 'proof'


@pytest.fixture
def hostile(tmp_path: Path, proof: Path) -> str:
    """Path of the checkpoint."""
    path = tmp_path / 'hostile.pth'
    torch.save({'state_dict': {'weight': torch.ones(2, 2)}, 'meta': RunsCode(proof)}, path)
    return str(path)
