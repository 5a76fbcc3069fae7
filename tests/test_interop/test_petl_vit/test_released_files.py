"""Real files of the release in a ViT-B."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from released import decode
from torch import nn

from mmqadapter import inspect_task, save_task
from mmqadapter.interop.petl_vit import export_petl, load_petl
from mmqadapter.interop.petl_vit.settings import NETS

TASKS = {
    'adaptformer/cifar-bit1-dim32': 381_520,
    'adaptformer/dtd-bit1-dim1': 147_068,
    'adaptformer-bihead/cifar-bit1-dim32': 83_528,
    'adaptformer-bihead/svhn-bit1-dim1': 3_464,
    'lora/caltech101-bit1-dim32': 461_592,
    'lora-bihead/dtd-bit1-dim1': 9_512,
}
# The adapters do not depend on the MLPs, which are small here to save time.
TRUNK = {'mlp_ratio': 0.01, 'img_size': 32}


@pytest.mark.slow
@pytest.mark.parametrize('name', TASKS)
def test_weights_and_bytes_are_those_of_the_release(
    real_data: Path, tmp_path: Path, name: str
) -> None:
    binary, text = (real_data / 'petl_vit' / (name + suffix) for suffix in ('.bin', '.yaml'))
    if not binary.is_file():
        pytest.skip(f'real data: no {binary}')
    data, settings = binary.read_bytes(), yaml.safe_load(text.read_text())
    blocks, head = decode(data, settings, NETS['vit_base_patch16_224_in21k'])
    model = load_petl(binary, text, TRUNK)
    layers = [m for m in model.backbone.adapters.modules() if isinstance(m, nn.Linear)]
    arrays = [array for block in blocks for array in block.values()]
    for layer, array in zip(layers, arrays, strict=True):
        assert torch.equal(layer.weight, torch.from_numpy(array))
    assert torch.equal(model.head.weight, torch.from_numpy(head['weight'].copy()))
    if 'bias' in head:
        assert torch.equal(model.head.bias, torch.from_numpy(head['bias'].copy()))
    save_task(model, tmp_path / 'task', {'name': settings['dataset']})
    sizes = inspect_task(tmp_path / 'task')['bytes']
    assert len(data) == TASKS[name] == sizes['adapters'] + sizes['head']
    export_petl(tmp_path / 'task', tmp_path / 'out.bin', tmp_path / 'out.yaml')
    assert (tmp_path / 'out.bin').read_bytes() == data
    assert (tmp_path / 'out.yaml').read_bytes() == text.read_bytes()
