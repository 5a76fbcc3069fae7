"""Checks of a user's own data, before training does."""

from mmqadapter.checks.config import check_dataset
from mmqadapter.checks.problem import Problem

__all__ = ['Problem', 'check_dataset']
