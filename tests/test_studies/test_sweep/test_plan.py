from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.registry import MODELS
from tiny_runs import ROOT

from mmqadapter.studies.benchmark.methods import HIGHWAYS, KNOWN, RECOMPUTED
from mmqadapter.studies.sweep.length import EPOCHS, Length
from mmqadapter.studies.sweep.plan import read_sweep
from mmqadapter.studies.sweep.training import SEED, Training, training_config


def test_reading_a_file(make_sweep) -> None:
    sweep = make_sweep(overrides={'train_cfg.val_interval': 3, 'model': {'neck': {'type': 'N'}}})
    assert (sweep.name, sweep.length, sweep.seeds, sweep.tuning_seed) == (
        'sweep.yaml', Length(20), (0, 1), 7,
    )  # fmt: skip
    assert sweep.config.train_cfg.val_interval == 3 and sweep.config.model.neck.type == 'N'
    assert sweep.rates_of('frozen') == (None,)
    assert sweep.rates_of('full') == (0.001, 0.01)
    assert sweep.rates_of('adaptformer@1') == (0.001, 0.01, 0.1)
    assert sweep.chosen([]) == ['frozen', 'full', 'adaptformer', 'adaptformer@1']
    assert sweep.chosen(['full', 'frozen', 'full']) == ['full', 'frozen']
    with pytest.raises(ValueError, match="'mona' is invalid: expected one of sweep.yaml: froz"):
        sweep.chosen(['mona'])


def test_mixed_precision_is_that_of_this_machine(
    make_sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mmqadapter.engine.precision.get_device', lambda: 'cpu')
    assert make_sweep().config.optim_wrapper.type == 'OptimWrapper'
    cfg = make_sweep(amp=True).config
    assert cfg.optim_wrapper.type == 'mmqadapter.CpuAmpOptimWrapper'
    with pytest.raises(ValueError, match="amp='yes' is invalid"):
        make_sweep(amp='yes')
    with pytest.raises(ValueError, match='has no optim_wrapper, which mixed precision needs'):
        make_sweep(amp=True, overrides={'optim_wrapper': None})
    with pytest.raises(ValueError, match='mixed precision of a detector needs a GPU'):
        make_sweep(amp=True, overrides={'default_scope': 'mmdet'})


def test_rates_of_a_single_method(make_sweep) -> None:
    entry = {'name': 'adaptformer@1', 'head_rates': [0.5], 'rates': [0.25, 0.75]}
    sweep = make_sweep(
        methods=['full', 'adaptformer', entry], rates={'backbone': [1], 'adapters': [2]}
    )
    assert sweep.head_rates_of('adaptformer@1') == (0.5,)
    assert sweep.rates_of('adaptformer@1') == (0.25, 0.75)
    assert (sweep.head_rates_of('adaptformer'), sweep.rates_of('adaptformer')) == (
        (0.01, 0.1),
        (2,),
    )
    assert sweep.methods['adaptformer@1'].bits == 1
    alone = make_sweep(methods=[entry], rates={})
    assert alone.rates_of('adaptformer@1') == (0.25, 0.75)


def test_head_bits_of_a_single_method(make_sweep) -> None:
    few = {'name': 'few', 'like': 'frozen', 'head_bits': {'decode_head.*': 4}}
    sweep = make_sweep(
        methods=['frozen', few, {'name': 'float', 'like': 'frozen', 'head_bits': 32}]
    )
    hooks = {}
    for name in sweep.methods:
        training = Training(SEED, name, 0, Length(20), 0.1, None)
        cfg = training_config(sweep, training)
        hooks[name] = [h.bits for h in cfg.custom_hooks if h.type.endswith('QuantizeTaskHook')]
    assert hooks == {'frozen': [], 'few': [{'decode_head.*': 4}], 'float': []}
    with pytest.raises(ValueError, match='head_bits=3 is invalid: expected 32 or 16 .* or 8, 4'):
        make_sweep(methods=[{**few, 'head_bits': 3}])


def test_rates_without_a_decimal_point_are_numbers(sweep_file) -> None:
    text = sweep_file().read_text().replace('- 0.01\n- 0.1\n', '- 1e-2\n- 1e-1\n')
    sweep_file().write_text(text)
    assert '1e-2' in text
    assert read_sweep(sweep_file().with_name('sweep.yaml')).head_rates == (0.01, 0.1)


KEYS = 'config, metric, seeds, tuning_seed, head_rates, rates, methods, iterations'
METHODS = 'expected one of full, full.checkpointing, frozen'


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'seeds': None}, f"the file lacks the key 'seeds': expected {KEYS}"),
        ({'seedz': [1]}, f"the file has an unknown key 'seedz': expected {KEYS}"),
        ({'seeds': [0, 0]}, 'seeds lists 0 twice; remove one'),
        ({'seeds': [0, 1.5]}, 'seeds=1.5 is invalid: expected an integer of 0 or more'),
        ({'seeds': 3}, 'seeds=3 is invalid: expected a list'),
        ({'methods': ['frozen', 'magic']}, f"method='magic' is invalid: {METHODS}"),
        ({'methods': [7]}, 'method 7: entry=7 is invalid: expected a mapping with the keys name'),
        (
            {'methods': [{}]},
            "method None: entry lacks the key 'name': expected name, like, backbone",
        ),
        (
            {'methods': [{'name': 'full', 'rate': 1}]},
            "method 'full': entry has an unknown key 'rate': expected name, like",
        ),
        ({'methods': ['full,frozen']}, "name='full,frozen' is invalid: expected a name for files"),
        (
            {'methods': [{'name': 'x', 'like': 'full,frozen'}]},
            "method 'x': like='full,frozen' is invalid: expected one method",
        ),
        ({'methods': ['full', 'full']}, "methods lists 'full' twice"),
        ({'methods': ['full', {'name': 'full'}]}, "methods lists 'full' twice"),
        ({'methods': [{'name': 'x'}]}, f"method 'x': method='x' is invalid: {METHODS}"),
        (
            {'methods': [{'name': 'full', 'rates': [-1]}]},
            "method 'full': rates: -1 is invalid: expected numbers above 0",
        ),
        (
            {'methods': [{'name': 'a/b', 'like': 'full'}]},
            "name='a/b' is invalid: expected a name f",
        ),
        (
            {'methods': [{'name': 'x', 'backbone': {'train': 'norm'}}]},
            "method 'x': backbone has no type",
        ),
        ({'methods': [{'name': 'x', 'backbone': {}}]}, "method 'x': backbone has no type"),
        (
            {'methods': [{'name': 'x', 'backbone': 5}]},
            "method 'x': backbone=5 is invalid: expected a mapping",
        ),
        (
            {'methods': [{'name': 'x', 'like': 'full', 'backbone': {'type': {'a': 1}}}]},
            "method 'x': backbone cannot be merged: ",
        ),
        ({'methods': [{'name': 'x', 'like': 'y', 'backbone': {}}]}, "method='y' is invalid"),
        ({'head_rates': []}, r'head_rates=\[\] is invalid: expected a list'),
        ({'head_rates': [0.1, -1]}, 'head_rates: -1 is invalid: expected numbers above 0'),
        ({'head_rates': [True]}, 'head_rates: True is invalid: expected numbers above 0'),
        ({'head_rates': [float('inf')]}, 'head_rates: inf is invalid: expected numbers above 0'),
        ({'rates': {'adapters': ['fast']}}, "rates.adapters: 'fast' is invalid: expected numbers"),
        ({'rates': {'adapters': [0.1, '1e-1']}}, 'rates.adapters lists 0.1 twice'),
        ({'rates': {'adapters': [0.1]}}, "rates.backbone is missing: method 'full' needs it"),
        (
            {'rates': {'adapter': [0.1]}},
            "rates has an unknown key 'adapter': expected adapters, backbone",
        ),
        ({'tuning_seed': 1}, 'tuning_seed=1 is invalid: expected a seed that is not in seeds'),
        ({'iterations': True}, 'iterations=True is invalid: expected an integer of 1 or more'),
        ({'iterations': 5}, 'iterations=5 is too short: a part of param_scheduler begins at 5'),
        ({'overrides': ['a=1']}, 'overrides=.* is invalid: expected a mapping of settings'),
        ({'overrides': {'model.type.x': 3}}, 'overrides do not fit plain.py: '),
        ({'iterations': None}, 'set one of iterations and epochs: the unit that'),
        ({'epochs': 3}, 'set one of iterations and epochs'),
        (
            {'iterations': None, 'epochs': 3},
            'epochs=3 is invalid: the train_cfg of the config counts iterations',
        ),
        ({'overrides': {'train_cfg': {'max_iters': None}}}, 'the config counts neither'),
        ({'validations': 0}, 'validations=0 is invalid: expected an integer of 1 or more'),
        ({'samples': -1}, 'samples=-1 is invalid: expected an integer of 0 or more'),
        ({'photos': 'no'}, "photos='no' is invalid: expected true or false"),
        ({'overrides': {'model': 3}}, 'the config has no model.backbone to tune'),
        ({'config': 3}, 'config=3 is invalid: expected text'),
    ],
)
def test_an_error_names_the_file_key_value_and_what_was_expected(
    make_sweep, changes, message
) -> None:
    with pytest.raises(ValueError, match=f'^sweep.yaml: .*{message}'):
        make_sweep(**changes)


def test_missing_and_invalid_files(make_sweep, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='there is no sweep file .*none.yaml'):
        read_sweep(tmp_path / 'none.yaml')
    with pytest.raises(FileNotFoundError, match='none.py'):
        make_sweep(config='none.py')
    (tmp_path / 'bad.yaml').write_text('a: [1')
    with pytest.raises(ValueError, match='bad.yaml.* is not valid YAML'):
        read_sweep(tmp_path / 'bad.yaml')
    (tmp_path / 'bad.yaml').write_text('full')
    with pytest.raises(ValueError, match="bad.yaml: the file='full' is invalid: expected a map"):
        read_sweep(tmp_path / 'bad.yaml')


@pytest.mark.parametrize('name', ['camvid', 'nuclei'])
def test_shipped_sweeps_of_small_data(name: str) -> None:
    methods = read_sweep(ROOT / f'configs/sweeps/{name}.yaml').methods
    adapter = dict(type='AdaptFormer', width=64, bias=False, dropout=0.0)
    assert methods['adaptformer-64@1'].backbone['adapter'] == adapter
    assert methods['adaptformer-64@1'].bits == 1 and methods['highway'].bits == 32
    joined = methods['highway-joined@1'].backbone
    assert (joined['cell'], joined['quantizer']['bits']) == ('JoinedCell', 1)
    groups = {'frozen': None, 'full': 'backbone', 'partial1': 'backbone', 'highway': 'adapters'}
    assert {name: methods[name].group for name in groups} == groups
    assert 'checkpoint' in methods['full'].backbone


def test_shipped_line_of_blocks_in_path() -> None:
    sweep = read_sweep(ROOT / 'configs/sweeps/camvid.yaml')
    line = [sweep.methods[f'highway-joined-inpath{blocks}'] for blocks in (1, 2, 4)]
    assert [method.backbone['inpath_blocks'] for method in line] == [1, 2, 4]
    assert {method.rates for method in line} == {(3e-3,)}


def test_shipped_sweep_of_the_cell() -> None:
    """Each step from the published highway changes one thing."""
    methods = read_sweep(ROOT / 'configs/sweeps/camvid_cell.yaml').methods
    first, second = (methods[n].backbone for n in ('stream-taps', 'stream-taps-joined-cell'))
    assert {k for k in second if second[k] != first.get(k)} == {'cell'}
    assert methods['joined-adaptformer'].backbone['adapter'] == dict(
        type='AdaptFormer', width=32, dropout=0.0
    )


def test_shipped_sweep_of_equal_storage() -> None:
    """Bits times width is 32 throughout."""
    methods = read_sweep(ROOT / 'configs/sweeps/camvid_storage.yaml').methods.values()
    assert [m.bits for m in methods] == [1, 2, 4, 8, 32]
    assert {m.bits * m.backbone['adapter']['width'] for m in methods if m.bits} == {32}


def test_shipped_sweep_of_trunks() -> None:
    """Of each task, the dtype of its trunk alone changes."""
    methods = read_sweep(ROOT / 'configs/sweeps/camvid_trunk.yaml').methods.values()
    dtypes = [m.backbone.pop('trunk', {}).get('dtype', 'float32') for m in methods]
    assert dtypes == 2 * ['float32', 'bfloat16', 'int8']
    first, *rest = [m.backbone for m in methods]
    assert rest[:2] == [first, first] and rest[2] == rest[3] == rest[4] != first


def test_shipped_sweep_of_rivals() -> None:
    methods = read_sweep(ROOT / 'configs/sweeps/camvid_rivals.yaml').methods
    assert methods.keys() > {'norm', 'bitfit', 'adapter', 'lorand', 'mona', 'highway-joined@4'}


@pytest.mark.parametrize(
    ('name', 'length', 'metric', 'validations'),
    [
        ('ade20k', Length(160_000), 'mIoU', 10),
        ('coco', Length(36, EPOCHS), 'coco/bbox_mAP', 6),
        ('voc', Length(4, EPOCHS), 'pascal_voc/mAP', 4),
    ],
)
def test_sweeps_that_reproduce_published_tables(name, length, metric, validations) -> None:
    sweep = read_sweep(ROOT / f'configs/sweeps/{name}.yaml')
    assert (sweep.length, sweep.metric, sweep.validations) == (length, metric, validations)
    published = set(KNOWN) - {RECOMPUTED}
    assert set(sweep.methods) == published | {f'{name}@1' for name in HIGHWAYS}
    assert sweep.processes * sweep.config.train_dataloader.batch_size == 16
    for method in sweep.methods:  # rivals at the published rates, which nobody has to search
        ours = method.startswith('highway')
        assert (len(sweep.rates_of(method)) > 1) == ours and len(sweep.head_rates_of(method)) == 1
    full = training_config(sweep, Training(SEED, 'full', 0, length, *rates(sweep, 'full')))
    assert full.model.backbone.type == 'SwinTransformer'
    published_rate = 6e-5 if name == 'ade20k' else 1e-4
    wrapper = full.optim_wrapper
    assert wrapper.optimizer.lr == published_rate
    assert wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == pytest.approx(1)
    mona = training_config(sweep, Training(SEED, 'mona', 0, length, *rates(sweep, 'mona')))
    keys = mona.optim_wrapper.paramwise_cfg.custom_keys
    assert keys.adapters == {'lr_mult': pytest.approx(1), 'decay_mult': 1.0}


def rates(sweep, method: str) -> tuple[float, float | None]:
    return sweep.head_rates_of(method)[0], sweep.rates_of(method)[0]


def test_the_backbones_of_a_shipped_sweep_build() -> None:
    small = dict(embed_dim=16, num_heads=2, img_size=32, checkpoint=None)
    for method in read_sweep(ROOT / 'configs/sweeps/camvid.yaml').methods.values():
        config = method.backbone
        config.get('backbone', config).update(small)
        built = MODELS.build(config)
        trains = any(parameter.requires_grad for parameter in built.parameters())
        assert trains is (method.group is not None), method.name
