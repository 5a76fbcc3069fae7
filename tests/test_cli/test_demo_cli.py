"""tools/demo.py: its arguments; what a demo does is tested in test_studies/test_demo."""

from __future__ import annotations

from pathlib import Path

from tiny_runs import ROOT, tool

from mmqadapter.utils.shipped import configs_folder


def test_arguments_reach_the_demo(monkeypatch, tmp_path: Path) -> None:
    calls: list[tuple] = []
    monkeypatch.setattr('mmqadapter.studies.demo.run_demo', lambda *args: calls.append(args))
    assert tool('demo')(['--task', 'det', '--out', str(tmp_path), '--iterations', '3']) == 0
    assert tool('demo')([]) == 0
    configs = configs_folder()
    assert configs.samefile(ROOT / 'configs')
    assert calls == [
        ('det', tmp_path, configs, 3),
        ('seg', Path('work_dirs/demo'), configs, None),
    ]
