from __future__ import annotations

import pytest

from mmqadapter.studies.benchmark.methods import HIGHWAYS, IN_PATH, KNOWN, parse_methods

NET = {'type': 'SwinTransformer', 'depths': (2, 2)}


def change(name: str) -> dict:
    (method,) = parse_methods(name)
    return method.change(dict(NET))


def test_full_is_the_plain_backbone() -> None:
    assert change('full') == NET
    assert change('full+checkpointing') == {**NET, 'with_cp': True}


@pytest.mark.parametrize('name', [name for name in KNOWN if not name.startswith('full')])
def test_all_other_methods_wrap_the_backbone(name: str) -> None:
    wrapped = change(name)
    assert wrapped['backbone'] == NET
    assert wrapped['type'].startswith('mmqadapter.')
    assert 'quantizer' not in wrapped


@pytest.mark.parametrize('name', [*IN_PATH, *HIGHWAYS])
def test_bits_are_set_in_the_quantizer(name: str) -> None:
    (method,) = parse_methods(f'{name}@1')
    assert (method.name, method.bits) == (f'{name}@1', 1)
    assert method.change(NET)['quantizer'] == dict(type='GaussianQuantizer', bits=1)
    assert change(f'{name}@32') == change(name)


def test_a_list_keeps_its_order_without_repetitions() -> None:
    names = [method.name for method in parse_methods('highway@1, full,highway,full,')]
    assert names == ['highway@1', 'full', 'highway']
    assert [method.bits for method in parse_methods('highway@1,full,highway')] == [1, None, 32]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('full,houlsby', "method='houlsby' is invalid: expected one of full, .*highway-joined"),
        (
            'highway@3',
            "method='highway@3' is invalid: expected one of 1, 2, 4, 8, 32 bits after the @",
        ),
        ('highway@', '32 bits after the @'),
        ('frozen@1', "method='frozen@1' is invalid: frozen has no adapters; use 'frozen'"),
        (' , ', "methods=' , ' is invalid: expected some of full"),
    ],
)
def test_errors_name_the_known_methods(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_methods(text)
