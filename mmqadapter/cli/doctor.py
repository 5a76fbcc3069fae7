"""``mmqadapter doctor``: versions, what does not go together, and the remedy."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Mapping, Sequence

import torch

from mmqadapter.compat.doctor import (
    Finding,
    import_findings,
    installed,
    operators,
    operators_findings,
    version_findings,
)
from mmqadapter.utils.terminal import print_line
from mmqadapter.version import __version__


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Print the report; return 1 if something does not work, else 0."""
    parser = argparse.ArgumentParser(prog, description=__doc__)
    parser.parse_args(argv)
    versions, state = installed(), operators()
    findings = version_findings(versions) + operators_findings(state, versions['mmcv'])
    if not state.startswith('broken'):  # otherwise mmdet fails for the same reason
        findings += import_findings()
    for line in _version_lines(versions, state) + _finding_lines(findings):
        print_line(line)
    return int(any(finding.conflict for finding in findings))


def _version_lines(versions: Mapping[str, Mapping[str, str]], state: str) -> list[str]:
    rows = {
        'mmqadapter': __version__,
        'Python': f'{platform.python_version()}, {platform.system()} {platform.machine()}',
        'GPU': _gpu(),
    }
    for name, distributions in versions.items():
        found = [f'{distribution} {version}' for distribution, version in distributions.items()]
        rows[name] = ', '.join(found) or 'not installed'
    rows['mmcv operators'] = state
    width = max(map(len, rows))
    return [f'{name:{width}}  {value}' for name, value in rows.items()]


def _gpu() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else 'none'


def _finding_lines(findings: Sequence[Finding]) -> list[str]:
    lines = ['']
    for finding in findings:
        lines += [
            f'{"conflict" if finding.conflict else "note"}: {finding.fact}',
            f'  remedy: {finding.remedy}',
        ]
    if not any(finding.conflict for finding in findings):
        lines.append('Everything here goes together.')
    return lines
