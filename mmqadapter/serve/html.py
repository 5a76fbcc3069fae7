"""HTML of the page's texts and tables; everything from files and users is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment

from mmqadapter.serve.class_rows import ClassRow
from mmqadapter.serve.predictor import Answer, Predictor

STYLE = """
.mmq table {border-collapse: collapse; width: 100%; margin: 0; font-size: 0.95em}
.mmq th, .mmq td {text-align: left; padding: 3px 10px 3px 0; border: 0;
  border-bottom: 1px solid var(--border-color-primary); background: none}
.mmq th.number, .mmq td.number {text-align: right; font-variant-numeric: tabular-nums}
.mmq tbody tr:last-child td {border-bottom: 0}
.mmq .swatch {display: inline-block; width: 0.9em; height: 0.9em; margin-right: 0.5em;
  vertical-align: -0.05em; border-radius: 2px; border: 1px solid rgba(128, 128, 128, 0.6)}
.mmq p {margin: 0 0 0.4em 0}
.mmq .error {color: var(--error-text-color, #b91c1c); font-weight: 600}
.mmq .quiet {color: var(--body-text-color-subdued)}
footer {display: none !important}
"""
TEMPLATES = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
MESSAGE = TEMPLATES.from_string(
    '<div class="mmq" role="status"><p class="{{ kind }}">{{ text }}</p></div>'
)
ROWS = TEMPLATES.from_string("""<div class="mmq"><table>
<thead><tr><th>class</th>
{% if counted %}<th class="number">instances</th>{% endif %}
{% if shared %}<th class="number">area</th>{% endif %}
{% if scored %}<th class="number">mean score</th>{% endif %}
</tr></thead><tbody>
{% for row in rows %}
<tr><td><span class="swatch" style="background: rgb({{ row.color | join(', ') }})"></span>
{{- row.name }}</td>
{% if counted %}<td class="number">{{ row.count }}</td>{% endif %}
{% if shared %}<td class="number">{{ '%.1f' | format(100 * row.share) }} %</td>{% endif %}
{% if scored %}<td class="number">{{ '%.2f' | format(row.score) }}</td>{% endif %}
</tr>
{% endfor %}
</tbody></table></div>""")
TASKS = TEMPLATES.from_string("""<div class="mmq">
<table><thead><tr><th>task</th><th class="number">on disk</th><th class="number">classes</th></tr>
</thead><tbody>
{% for name, task in tasks.items() %}
<tr><td>{{ name }}</td><td class="number">{{ weight(task.nbytes) }}</td>
<td class="number">{{ task.meta['classes'] | length }}</td></tr>
{% endfor %}
</tbody></table>
<p class="quiet">All on one frozen backbone of {{ weight(trunk) }}, on {{ device }}.
{% if shared %}It runs once for all tasks.{% else %}It runs again for each task.{% endif %}</p>
{% for name, reason in refused.items() %}
<p class="error">{{ name }} cannot be used: {{ reason }}</p>
{% endfor %}
</div>""")


def error_html(text: str) -> str:
    """Return an error in one line."""
    return MESSAGE.render(kind='error', text=text)


def note_html(text: str) -> str:
    """Return a remark in one line."""
    return MESSAGE.render(kind='quiet', text=text)


def answer_html(answer: Answer) -> str:
    """Return the size of the image, and how long the network took for which tasks."""
    width, height = answer.size
    times = [f'{", ".join(names)}: {_time(spent)}' for names, spent in answer.seconds.items()]
    together = any(len(names) > 1 for names in answer.seconds)
    text = f'{width} x {height} pixels. {"; ".join(times)}'
    return note_html(text + (' (the backbone ran once).' if together else '.'))


def rows_html(rows: list[ClassRow]) -> str:
    """Return the table of what was found of each class, with its color."""
    if not rows:
        return note_html('Nothing was found above the least score.')
    return ROWS.render(
        rows=rows,
        counted=rows[0].count is not None,
        shared=all(row.share is not None for row in rows),
        scored=all(row.score is not None for row in rows),
    )


def tasks_html(predictor: Predictor) -> str:
    """Return the table of tasks with the bytes of their files, and the refused files."""
    return TASKS.render(
        tasks=predictor.tasks, refused=predictor.refused, weight=weight,
        trunk=predictor.trunk_nbytes, device=predictor.device, shared=predictor.shares_trunk,
    )  # fmt: skip


def weight(nbytes: float) -> str:
    """Return bytes as text in kB (10^3) or MB (10^6)."""
    return f'{nbytes / 10**6:.1f} MB' if nbytes >= 10**6 else f'{nbytes / 1000:.0f} kB'


def _time(seconds: float) -> str:
    return f'{seconds:.1f} s' if seconds >= 1 else f'{1000 * seconds:.0f} ms'
