"""Train and predict with one config: bare, and with its backbone in each wrapper.

``benchmarks.peer_configs.processes`` calls ``run`` in a child process for equal configs.
"""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import Tensor

import mmqadapter  # noqa: F401  registers the wrappers
from benchmarks.peer_configs.batches import make_batch
from benchmarks.peer_configs.compare import difference, tensors_of
from benchmarks.peer_configs.configs import (
    OPTIONS,
    WRAPPERS,
    backbone_parent,
    build,
    load,
    wrapped,
)
from benchmarks.peer_configs.cuts import SIZES, cut, cut_resnets, set_weights
from benchmarks.peer_configs.language import write_language_model
from mmqadapter import load_task, save_task
from mmqadapter.utils.tuned_backbone import tuned_backbone

# Families whose attention (PyTorch's) takes another path once it is frozen, and their tolerance.
FAST_PATH = ('mmseg ViT', 'mmseg MiT', 'mmseg Twins', 'mmdet PVT', 'mmdet PVT v2')
TOLERANCE = 1e-5
STEPS = 2
LOW_RATE = 1e-3  # of the learning rate as shipped
TOO_SMALL = ('too small', 'Padding size should be less')  # in errors of PyTorch


@dataclass
class Outcome:
    """What was seen of one model.

    Attributes:
        stage: What it was doing when it failed, of ``verdicts.STAGES``; None if it did not fail.
        words: Text of the error.
        faults: What is wrong although it ran, each with the stage where it was seen.
        rates: Learning rates of the adapters, as multiples of the base rate.
        start: Largest relative difference of predictions at the start from those of the bare model.
        seconds: Time taken.
        option: The option of ``configs.OPTIONS`` that the wrapper asked for and got.
    """

    stage: str | None = None
    words: str | None = None
    faults: list[tuple[str, str]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    start: float | None = None
    seconds: float = 0.0
    option: str | None = None

    def as_row(self) -> dict[str, Any]:
        """Return what a results file says: all but empty fields."""
        return {key: value for key, value in vars(self).items() if value not in (None, [])}


class Run:
    """One model of a config, taken through all stages."""

    def __init__(self, case: Case, model: Any) -> None:
        self.case, self.config, self.outcome = case, model, Outcome()
        self.missing: set[str] = set()  # parameters that got no gradient
        self.stage = ''

    def go(self, *stages: Callable[[], None]) -> Outcome:
        """Run stages in order, and stop at the first that fails."""
        begin = time.perf_counter()
        for stage in stages:
            self.stage = stage.__name__
            try:
                stage()
            except Exception as error:  # whatever it is, it is the result
                self.outcome.stage, self.outcome.words = self.stage, words_of(error)
                break
        self.outcome.seconds = round(time.perf_counter() - begin, 1)
        return self.outcome

    def fault(self, words: str) -> None:
        """Note what is wrong although the model runs."""
        self.outcome.faults.append((self.stage, words))

    def build(self) -> None:
        """Build the model and its optimizer."""
        torch.manual_seed(0)
        self.model = build(self.config)
        self.optimizer = build_optim_wrapper(self.model, on_cpu(self.case.cfg.optim_wrapper))

    def initialize(self) -> None:
        """Initialize the weights as a runner does."""
        torch.manual_seed(0)
        self.model.init_weights()

    def predict(self) -> dict[str, Tensor]:
        """Return the predictions for one image."""
        self.model.eval()
        torch.manual_seed(0)
        with torch.no_grad():
            predictions = self.model.test_step(self.case.batch(1))
        return tensors_of(predictions)

    def predict_at_start(self) -> None:
        """Predict before training."""
        self.start = self.predict()
        if not self.start:
            raise ValueError('there are no predictions to compare')

    def train(self) -> None:
        """Train two steps, and note which parameters get no gradient."""
        self.model.train()
        for step in range(STEPS):
            self.stage = f'train_step_{step + 1}'
            torch.manual_seed(step)
            # YOLOX resizes by the first, TOOD assigns by the second.
            MessageHub.get_current_instance().update_info_dict(dict(iter=step, epoch=0))
            data = self.model.data_preprocessor(self.case.batch(2), True)
            loss, log = self.model.parse_losses(self.model(**data, mode='loss'))
            if not all(torch.isfinite(value).all() for value in log.values()):
                self.fault('loss not finite')
            self.optimizer.backward(loss)
            self.check_gradients(step)
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.model.eval()

    def check_gradients(self, step: int) -> None:
        """Note gradients that are not finite, and parameters without gradient in the last step."""
        grads = {name: p.grad for name, p in self.model.named_parameters() if p.requires_grad}
        self.missing = {plain_name(name) for name, grad in grads.items() if grad is None}
        infinite = [name for name, grad in grads.items() if grad is not None and not finite(grad)]
        if infinite:
            self.fault(f'gradient not finite: {some(infinite)}')

    def predict_at_end(self) -> None:
        """Predict after training; everything must be finite."""
        self.end = self.predict()
        for name, tensor in [*self.model.named_parameters(), *self.end.items()]:
            if tensor.is_floating_point() and not finite(tensor):
                self.fault(f'{name} is not finite')


class WrappedRun(Run):
    """A model with its backbone in one of our wrappers, compared with the bare model."""

    def build(self) -> None:
        """Build, and note the learning rates of the adapters."""
        super().build()
        backbone = tuned_backbone(self.model)
        assert backbone is not None
        self.backbone = backbone
        self.outcome.rates = adapter_rates(self.optimizer, backbone)
        paramwise = self.case.cfg.optim_wrapper.get('paramwise_cfg') or {}
        # FCOS and others give all biases twice the rate.
        allowed = {1.0, float(paramwise.get('bias_lr_mult', 1.0))}
        if 1.0 not in self.outcome.rates or not allowed.issuperset(self.outcome.rates):
            self.fault(f'adapters learn at {self.outcome.rates} of the base rate')

    def take_weights(self) -> None:
        """Check the trunk that was loaded, and load the bare model's weights."""
        bare = self.case.state
        if self.case.names_weights:
            self.check_trunk(bare)
        missing, unexpected = self.model.load_state_dict(bare, strict=False)
        missing = [name for name in missing if '.adapters.' not in name]
        if missing or unexpected:
            raise ValueError(f'missing={missing[:3]}, unexpected={unexpected[:3]}')

    def check_trunk(self, bare: dict[str, Tensor]) -> None:
        """Note trunk tensors that differ from the file that the config names."""
        own = {plain_name(n): t for n, t in self.model.state_dict().items() if '.trunk.' in n}
        wrong = [name for name, tensor in own.items() if not torch.equal(tensor, bare[name])]
        if wrong:
            self.fault(f'weights of the config are not in {wrong[0]}')

    def predict_at_start(self) -> None:
        """Predict before training, as the bare model does."""
        super().predict_at_start()
        self.outcome.start = difference(self.case.bare_start, self.start)
        allowed = TOLERANCE if self.backbone.family.name in FAST_PATH else 0
        if not self.outcome.start <= allowed:
            self.fault(f'start differs by {self.outcome.start:.1e}')

    def check_gradients(self, step: int) -> None:
        """Note gradients that are missing, zero, not finite or in the trunk."""
        super().check_gradients(step)
        extra = sorted(self.missing - self.case.bare_missing)
        if extra and step == STEPS - 1:
            self.fault(f'no gradient: {some(extra)}')
        for name, p in self.backbone.trunk.named_parameters():
            trained = name in self.backbone.trainable_names
            if not trained and (p.grad is not None or p.requires_grad):
                self.fault(f'the trunk gets a gradient: {name}')
                break
        grads = {n: p.grad for n, p in self.model.named_parameters() if p.grad is not None}
        zero = [name for name, grad in grads.items() if '.adapters.' in name and not grad.any()]
        if zero and step == STEPS - 1:
            self.fault(f'gradient zero: {some(zero)}')

    def task_file(self) -> None:
        """Save the task, load it into a fresh model, and compare predictions."""
        path = self.case.folder / 'task.safetensors'
        save_task(self.model, path)
        fresh = WrappedRun(self.case, self.config)
        fresh.build()
        fresh.model.load_state_dict(self.case.state, strict=False)
        load_task(fresh.model, path)
        if changed := difference(self.end, fresh.predict()):
            self.fault(f'predictions from the task file differ by {changed:.1e}')


@dataclass
class Case:
    """A cut config with what its bare model did."""

    cfg: Config
    folder: Path
    size: int
    model: Any = None
    state: dict[str, Tensor] = field(default_factory=dict)
    bare_start: dict[str, Tensor] = field(default_factory=dict)
    bare_missing: set[str] = field(default_factory=set)
    names_weights: bool = False

    @classmethod
    def of(cls, name: str, folder: Path, size: int = SIZES[0], rate: float = 1.0) -> Case:
        """Load and cut a config, and write the weights that it names.

        Args:
            name: The config.
            folder: For the weights.
            size: Sides of an image, in pixels.
            rate: Factor of the learning rate.
        """
        cfg = cut(load(name), str(folder / 'bert'), size)
        if cfg.model.get('language_model'):
            write_language_model(folder / 'bert')
        cfg.optim_wrapper.optimizer.lr *= rate
        init_default_scope(cfg.default_scope)
        cut_resnets(cfg.default_scope)
        case = cls(cfg, folder, size)
        file = folder / 'backbone.pth'
        case.model = set_weights(cfg.model, str(file))
        case.names_weights = case.model != cfg.model
        if case.names_weights:
            write_weights(cfg.model, file)
        return case

    def batch(self, images: int) -> dict[str, Any]:
        """Return a random batch of some images."""
        return make_batch(self.cfg, images, self.size)

    def run_bare(self) -> Outcome:
        """Take the bare model through all stages, and keep what others are compared with."""
        run = Run(self, self.model)

        def keep_state() -> None:
            self.state = copy.deepcopy(run.model.state_dict())

        outcome = run.go(
            run.build,
            run.initialize,
            keep_state,
            run.predict_at_start,
            run.train,
            run.predict_at_end,
        )
        self.bare_start, self.bare_missing = getattr(run, 'start', {}), run.missing
        return outcome

    def run_wrapped(self, wrapper: str) -> Outcome:
        """Take the model with one of ``WRAPPERS`` through all stages."""
        outcome = self._run_wrapped(wrapper, None)
        refused = outcome.words if outcome.stage == 'build' else None
        for option in OPTIONS:
            if refused and option in refused:
                outcome = self._run_wrapped(wrapper, option)
        return outcome

    def _run_wrapped(self, wrapper: str, option: str | None) -> Outcome:
        run = WrappedRun(self, wrapped(self.model, wrapper, option))
        run.outcome.option = option
        return run.go(
            run.build,
            run.initialize,
            run.take_weights,
            run.predict_at_start,
            run.train,
            run.predict_at_end,
            run.task_file,
        )

    def build_wrapped(self, wrapper: str, option: str | None) -> Outcome:
        """Only build the model with one of ``WRAPPERS``, and its optimizer."""
        run = WrappedRun(self, wrapped(self.model, wrapper, option))
        return run.go(run.build)


def write_weights(model: Any, file: Path) -> None:
    """Write random weights of the backbone, as its class reads them."""
    found = backbone_parent(model)
    assert found is not None
    parent, key = found
    net = Config({'net': parent[key].to_dict()}).net
    net.pop('pretrained', None)
    named = net.get('init_cfg')
    prefix = named.get('prefix', '') if isinstance(named, dict) else ''
    prefix = f'{prefix.rstrip(".")}.' if prefix else ''
    net.init_cfg = None
    torch.manual_seed(1)
    backbone = build(net)
    backbone.init_weights()
    # A checkpoint of a plain net has no statistics of weights; ConvAWS2d then computes them.
    computed = ('weight_gamma', 'weight_beta')
    backbone.load_state_dict(without(backbone.state_dict(), computed), strict=False)
    settle_batch_norms(backbone)
    state = without(backbone.state_dict(), computed)
    if key == 'image_encoder':  # SAN reads a file without 'state_dict'
        content = {f'image_encoder.{name}': tensor for name, tensor in state.items()}
        content |= text_weights(model.text_encoder)
    else:
        prefix = 'backbone.' if 'Swin' in str(net.type) else prefix
        content = {'state_dict': {f'{prefix}{name}': tensor for name, tensor in state.items()}}
    torch.save(content, file)


def without(state: dict[str, Tensor], endings: tuple[str, ...]) -> dict[str, Tensor]:
    """Return the tensors whose names do not end so."""
    return {name: tensor for name, tensor in state.items() if not name.endswith(endings)}


@torch.no_grad()
def settle_batch_norms(net: Any) -> None:
    """Give batch norms the statistics of random images; with others a random net diverges."""
    norms = [m for m in net.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    if norms:
        net(torch.randn(2, 3, 128, 128))


def text_weights(config: Any) -> dict[str, Tensor]:
    """Return random weights of SAN's text encoder, which leaves some of its own uninitialized."""
    encoder = build(config)
    encoder.init_weights()
    for parameter in (encoder.positional_embedding, encoder.text_projection):
        torch.nn.init.normal_(parameter, std=0.02)
    return {f'text_encoder.{name}': tensor for name, tensor in encoder.state_dict().items()}


def on_cpu(optim_wrapper: Any) -> Any:
    """Return the config of an optimizer wrapper without mixed precision."""
    plain = Config({'x': optim_wrapper.to_dict()}).x
    if plain.get('type') == 'AmpOptimWrapper':
        plain.type = 'OptimWrapper'
        for key in ('loss_scale', 'dtype', 'use_fp16'):
            plain.pop(key, None)
    return plain


def adapter_rates(optimizer: Any, backbone: Any) -> list[float]:
    """Return the learning rates of what trains in a backbone, as multiples of the base rate."""
    base = optimizer.optimizer.defaults['lr']
    trained = {id(p) for p in backbone.parameters() if p.requires_grad}
    rates = {
        round(group['lr'] / base, 4)
        for group in optimizer.param_groups
        if any(id(p) in trained for p in group['params'])
    }
    return sorted(rates)


def finite(values: Tensor) -> bool:
    """Return whether all values are finite; a sum is cheap, and tells unless it overflows."""
    return bool(torch.isfinite(values.sum()) or torch.isfinite(values).all())


def plain_name(name: str) -> str:
    """Return the name that a tensor of a wrapped model has in the bare model."""
    name = name.replace('.trunk.', '.')
    before, norms, after = name.partition('.adapters.highway.norms.')
    return f'{before}.norm{after}' if norms else name


def some(names: list[str]) -> str:
    """Return how many names there are, and the first of them."""
    return names[0] if len(names) == 1 else f'{len(names)} parameters, such as {names[0]}'


def words_of(error: Exception) -> str:
    """Return type, text and last line of code of an error, without paths."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = ''
    if trace and not isinstance(error, ValueError):
        place = f' ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})'
    text = re.sub(r'/\S*/site-packages/', '.../', ' '.join(str(error).split()))
    return f'{type(error).__name__}: {text[:600]}{place}'


def run(folder: Path, names: list[str], note: Callable[[str, str, Outcome], None]) -> None:
    """Note what is seen of each of several configs that are equal after the cuts.

    Args:
        folder: For weights.
        names: The configs; the first is run.
        note: Gets config, 'bare' or wrapper, and the outcome, as soon as it is known.
    """
    case, bare = run_bare(names[0], folder)
    if case is None:
        for name, column in product(names, ('bare', *WRAPPERS)):
            note(name, column, bare)
        return
    seen = {'bare': bare}
    note(names[0], 'bare', bare)
    for wrapper in WRAPPERS:
        seen[wrapper] = case.run_wrapped(wrapper)
        note(names[0], wrapper, seen[wrapper])
    known = {rules_of(case.cfg.optim_wrapper): seen}
    for name in names[1:]:
        case.cfg.optim_wrapper = load(name).optim_wrapper
        key = rules_of(case.cfg.optim_wrapper)
        known[key] = known.get(key) or with_own_optimizer(case, seen)
        for column, outcome in known[key].items():
            note(name, column, outcome)


def rules_of(optim_wrapper: Any) -> str:
    """Return what decides on the rate of each parameter as a multiple of the base rate."""
    return str([optim_wrapper.get(key) for key in ('type', 'constructor', 'paramwise_cfg')])


def first_size(cfg: Config) -> int:
    """Return the size to begin with: maps of one pixel have no gradient behind a batch norm."""
    net = cfg.model.get('backbone') or {}
    return SIZES[1] if net.get('arch') == 'P6' else SIZES[0]  # of CSPNeXt, with a stride of 64


def run_bare(name: str, folder: Path) -> tuple[Case | None, Outcome]:
    """Return a config with what its bare model does, if possible so that it runs.

    A model for which images are too small gets larger ones, and one whose training diverges, for
    its weights are random, a lower learning rate.
    """
    size, rate = first_size(load(name)), 1.0
    while True:
        try:
            case = Case.of(name, folder, size, rate)
        except Exception as error:  # no wrapper is in this
            return None, Outcome('prepare', words_of(error))
        outcome = case.run_bare()
        larger = [other for other in SIZES if other > size]
        if larger and any(words in (outcome.words or '') for words in TOO_SMALL):
            size = larger[0]
        elif rate == 1.0 and any('not finite' in words for _, words in outcome.faults):
            rate = LOW_RATE
        else:
            return case, outcome


def with_own_optimizer(case: Case, seen: dict[str, Outcome]) -> dict[str, Outcome]:
    """Return the outcomes of a config that differs from one that has run in its optimizer alone."""
    outcomes = dict(seen)
    for wrapper in WRAPPERS:
        built = case.build_wrapped(wrapper, seen[wrapper].option)
        merged = copy.deepcopy(seen[wrapper])
        merged.rates = built.rates
        merged.faults = built.faults + [fault for fault in merged.faults if fault[0] != 'build']
        if built.stage:
            merged.stage, merged.words = built.stage, built.words
        outcomes[wrapper] = merged
    return outcomes
