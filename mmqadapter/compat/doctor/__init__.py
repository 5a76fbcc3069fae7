"""Report of the installed versions, the conflicts between them, and the remedies."""

from mmqadapter.compat.doctor.finding import Finding
from mmqadapter.compat.doctor.imports import import_findings
from mmqadapter.compat.doctor.operators import operators, operators_findings
from mmqadapter.compat.doctor.version_rules import version_findings
from mmqadapter.compat.doctor.versions import installed

__all__ = [
    'Finding',
    'import_findings',
    'installed',
    'operators',
    'operators_findings',
    'version_findings',
]
