"""Sets of versions that do not go together, known without importing anything."""

from __future__ import annotations

from collections.abc import Mapping

from packaging.version import Version

from mmqadapter.compat.doctor.finding import Finding

Versions = Mapping[str, Mapping[str, str]]  # as `installed` returns them
OLDEST_TORCH = '2.1'
FRESH = "pip install 'mmqadapter[det,seg]'"
OLD = "pip install 'numpy<2'"


def version_findings(versions: Versions) -> list[Finding]:
    """Return what is missing, there twice, or too old for another package."""
    rules = (_missing, _installed_twice, _old_torch, _numpy_2)
    return [finding for rule in rules for finding in rule(versions)]


def _missing(versions: Versions) -> list[Finding]:
    findings = []
    if not versions['mmcv']:
        findings.append(Finding('mmcv is not installed', f'{FRESH} on a machine without it'))
    if not versions['mmdet'] and not versions['mmseg']:
        text = 'neither mmdet nor mmseg is installed'
        findings.append(Finding(text, "pip install 'mmqadapter[det]' or 'mmqadapter[seg]'"))
    return findings


def _installed_twice(versions: Versions) -> list[Finding]:
    """Two distributions write the same files, and removing one breaks the other."""
    findings = []
    for name, distributions in versions.items():
        if len(distributions) > 1 and name != 'cv2':
            names = ' and '.join(distributions)
            remedy = f'pip uninstall -y {" ".join(distributions)}, then install one of them'
            findings.append(Finding(f'{names} both provide {name}', remedy))
    return findings


def _old_torch(versions: Versions) -> list[Finding]:
    torch = versions['torch'].get('torch', OLDEST_TORCH)
    if Version(torch) >= Version(OLDEST_TORCH):
        return []
    return [Finding(f'torch is {torch}', f"pip install 'torch>={OLDEST_TORCH}' torchvision")]


def _numpy_2(versions: Versions) -> list[Finding]:
    """Return packages that were compiled for numpy 1."""
    numpy = versions['numpy'].get('numpy', '1')
    if Version(numpy) < Version('2'):
        return []
    bounds = {'torch': '2.3', 'cv2': '4.10'}
    return [
        Finding(f'{distribution} {version} needs numpy 1, and numpy is {numpy}', OLD)
        for name, bound in bounds.items()
        for distribution, version in versions[name].items()
        if Version(version) < Version(bound)
    ]
