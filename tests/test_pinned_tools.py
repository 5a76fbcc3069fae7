"""The tools of the pre-commit hooks have the versions of the development environment."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def test_hooks_use_the_locked_versions() -> None:
    config = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())
    hooks = [hook for repository in config['repos'] for hook in repository['hooks']]
    pinned = {tool for hook in hooks for tool in hook['additional_dependencies']}
    assert len(pinned) == 2  # ruff for two hooks, and codespell
    assert pinned <= set((ROOT / 'requirements/lock.txt').read_text().split())
