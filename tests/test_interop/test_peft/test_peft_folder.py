"""The two files of a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from mmqadapter.interop.peft import PeftLora, PeftSettings, Product, read_peft, write_peft

Change = Callable[[dict[str, Any]], Any]
A, B = (f'base_model.model.blocks.0.attn.qkv.lora_{letter}.weight' for letter in 'AB')


def lora(rank: int = 2) -> PeftLora:
    parts = {f'blocks.{i}.attn.qkv': (torch.randn(rank, 4), torch.randn(12, rank)) for i in (0, 1)}
    return PeftLora(PeftSettings(rank, 3.0), {n: Product(*p) for n, p in parts.items()})


def rewrite(folder: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, folder / 'adapter_model.safetensors')


def test_what_is_written_is_read(tmp_path: Path) -> None:
    content = lora()
    write_peft(content, tmp_path / 'new' / 'folder')
    read = read_peft(tmp_path / 'new' / 'folder')
    assert read.settings == content.settings and read.products.keys() == content.products.keys()
    for name, product in content.products.items():
        assert all(map(torch.equal, product, read.products[name]))
    names = {path.name for path in (tmp_path / 'new' / 'folder').iterdir()}
    assert names == {'adapter_config.json', 'adapter_model.safetensors'}


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_read_exactly(tmp_path: Path, dtype: torch.dtype) -> None:
    write_peft(lora(), tmp_path)
    tensors = {A: torch.randn(2, 4).to(dtype), B: torch.randn(12, 2).to(dtype)}
    rewrite(tmp_path, tensors)
    product = read_peft(tmp_path).products['blocks.0.attn.qkv']
    assert product.down.dtype == torch.float32 and torch.equal(product.down, tensors[A].float())


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (lambda t: t.update({A: torch.randn(3, 4)}), r'lora_A.: \(3, 4\).*r=2.*belong together'),
        (lambda t: t.update({B: torch.randn(12, 3)}), r'lora_B.: \(12, 3\)'),
        (lambda t: t.update({A: torch.randn(4)}), 'expected the matrices lora_A and lora_B'),
        (lambda t: t.pop(B), 'expected the matrices lora_A and lora_B'),
        (lambda t: t.clear(), 'holds no weights'),
        (lambda t: t.update({A: torch.full((2, 4), float('inf'))}), 'NaN or inf'),
        (lambda t: t.update({A: torch.randn(2, 4).double()}), 'torch.float64; expected .*float32'),
        (lambda t: t.update({A: torch.ones(2, 4).int()}), 'torch.int32'),
        (lambda t: t.update({'x' * 500: torch.ones(1)}), 'expected only .*: a plain LoRA'),
        (
            lambda t: t.update({A.replace('A.weight', 'magnitude_vector'): torch.ones(1)}),
            'expected only',
        ),
        (lambda t: t.update({'base_model.model.head.weight': torch.ones(1)}), 'head.weight'),
    ],
)
def test_other_tensors_are_refused(tmp_path: Path, change: Change, text: str) -> None:
    write_peft(lora(), tmp_path)
    tensors = {A: torch.randn(2, 4), B: torch.randn(12, 2)}
    change(tensors)
    rewrite(tmp_path, tensors)
    with pytest.raises(ValueError, match=text) as caught:
        read_peft(tmp_path)
    assert 'adapter_model.safetensors' in str(caught.value) and len(str(caught.value)) < 600


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='no folder .*check the path'):
        read_peft(tmp_path / 'none')
    with pytest.raises(FileNotFoundError, match=r'adapter_config.json.*save_pretrained'):
        read_peft(tmp_path)
    write_peft(lora(), tmp_path)
    (tmp_path / 'adapter_model.safetensors').unlink()
    with pytest.raises(FileNotFoundError, match='adapter_model.safetensors.*save the adapter'):
        read_peft(tmp_path)
    (tmp_path / 'adapter_model.bin').write_bytes(b'')
    with pytest.raises(FileNotFoundError, match='adapter_model.bin is a pickle'):
        read_peft(tmp_path)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=100), cut=st.integers(0, 500))
def test_damaged_weights_are_refused(tmp_path: Path, data: bytes, cut: int) -> None:
    path, intact = tmp_path / 'adapter_model.safetensors', tmp_path / 'intact'
    if not intact.exists():
        write_peft(lora(), tmp_path)
        path.rename(intact)
    for damaged in (data, intact.read_bytes()[:cut]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match='adapter_model.safetensors'):
            read_peft(tmp_path)
