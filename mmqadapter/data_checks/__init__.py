"""Checks of a user's own data, before training does."""

from mmqadapter.data_checks.config import check_dataset
from mmqadapter.data_checks.problem import Problem

__all__ = ['Problem', 'check_dataset']
