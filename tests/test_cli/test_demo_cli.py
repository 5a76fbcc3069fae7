"""tools/demo.py: its arguments; what a demo does is tested in test_studies/test_demo."""

from __future__ import annotations

from pathlib import Path

from tiny_runs import ROOT, tool

from mmqadapter.cli import demo


def test_arguments_reach_the_demo(monkeypatch, tmp_path: Path) -> None:
    calls: list[tuple] = []
    monkeypatch.setattr('mmqadapter.studies.demo.run_demo', lambda *args: calls.append(args))
    assert tool('demo')(['--task', 'det', '--out', str(tmp_path), '--iterations', '3']) == 0
    assert tool('demo')([]) == 0
    configs = ROOT / 'configs'
    assert calls == [
        ('det', tmp_path, configs, 3),
        ('seg', Path('work_dirs/demo'), configs, None),
    ]


def test_an_installation_without_configs_is_reported(monkeypatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setattr(demo, 'CONFIGS', tmp_path / 'configs')
    assert tool('demo')(['--out', str(tmp_path / 'out')]) == 1
    assert 'the demo needs the configs of a clone' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
