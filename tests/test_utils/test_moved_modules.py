"""Import names that the documentation of version 0.1.0 gave still work."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

import mmqadapter

PUBLIC = {
    'mmqadapter.backbones.presets': 'trainable_parameters',
    'mmqadapter.checks': 'check_dataset',
    'mmqadapter.onnx_export': 'export_onnx',
    'mmqadapter.petl_vit': 'load_petl',
    'mmqadapter.taskbank': 'TasksTogether',
}


@pytest.mark.parametrize('old', sorted(PUBLIC))
def test_an_old_name_gives_the_same_object_and_names_the_new_one(old: str) -> None:
    new = mmqadapter.MOVED[old]
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f'{old} is now {new}'):
        module = import_module(old)
    assert getattr(module, PUBLIC[old]) is getattr(import_module(new), PUBLIC[old])


def test_a_submodule_is_not_imported_a_second_time() -> None:
    with pytest.raises(ModuleNotFoundError, match=r'taskbank'):
        import_module('mmqadapter.taskbank.bank')


def test_a_name_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'mmqadapter\.nothing'"):
        import_module('mmqadapter.nothing')
    with pytest.raises(ImportError):
        from mmqadapter.taskbank import nothing  # noqa: F401
