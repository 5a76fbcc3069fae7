"""HTML of the page's texts and tables; everything from files and users is escaped."""

from __future__ import annotations

from jinja2 import Environment

from mmqadapter.serve.class_rows import ClassRow
from mmqadapter.serve.predictor import Answer, Predictor

STYLE = """
.mmq table {border-collapse: collapse; width: 100%; margin: 0 0 0.6em 0 !important;
  border: 0 !important}
.mmq tr {border: 0 !important; background: none !important}
.mmq th, .mmq td {text-align: left; padding: 4px 12px 4px 0; border: 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important; background: none}
.mmq th {font-weight: 600; font-size: 0.9em}
.mmq th.number, .mmq td.number {text-align: right; padding: 4px 0 4px 12px;
  font-variant-numeric: tabular-nums}
.mmq .swatch {display: inline-block; width: 1em; height: 1em; margin-right: 0.6em;
  vertical-align: -0.1em; border-radius: 2px; border: 1px solid rgba(128, 128, 128, 0.6)}
.mmq h1 {font-size: 1.5em; font-weight: 600; margin: 0}
.mmq p {margin: 0 0 0.4em 0; color: var(--body-text-color); overflow-wrap: anywhere}
.mmq p.error, .mmq p.refused {color: var(--error-text-color)}
.mmq p.error {font-weight: 600}
.overlay .image-frame {width: 100%}
.overlay img {width: 100% !important; height: auto !important; max-height: 75vh !important;
  object-fit: contain !important}
"""
TEMPLATES = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
MESSAGE = TEMPLATES.from_string(
    '<div class="mmq" role="status"><p class="{{ kind }}">{{ text }}</p></div>'
)
HEADING = TEMPLATES.from_string('<div class="mmq"><h1>{{ text }}</h1></div>')
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
{% if shared %}<td class="number">{{ percent(row.share) }}</td>{% endif %}
{% if scored %}<td class="number">{{ '%.2f' | format(row.score) }}</td>{% endif %}
</tr>
{% endfor %}
</tbody></table></div>""")
TASKS = TEMPLATES.from_string("""<div class="mmq">
<p>All tasks share one frozen backbone of {{ weight }} on {{ device }};
it runs {{ 'once for all of them' if shared else 'again for each of them' }}.</p>
{% for name, reason in refused.items() %}
<p class="refused"><b>{{ name }}</b> cannot be used: {{ reason }}</p>
{% endfor %}
</div>""")


def heading_html(text: str) -> str:
    """Return the heading of the page."""
    return HEADING.render(text=text)


def error_html(text: str) -> str:
    """Return an error in one line."""
    return MESSAGE.render(kind='error', text=text)


def note_html(text: str) -> str:
    """Return a remark in one line."""
    return MESSAGE.render(kind='note', text=text)


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
        percent=_percent,
        counted=rows[0].count is not None,
        shared=all(row.share is not None for row in rows),
        scored=all(row.score is not None for row in rows),
    )


def tasks_html(predictor: Predictor) -> str:
    """Return what the tasks share, and why files were refused."""
    return TASKS.render(
        weight=weight(predictor.trunk_nbytes), device=predictor.device,
        shared=predictor.shares_trunk, refused=predictor.refused,
    )  # fmt: skip


def weight(nbytes: float) -> str:
    """Return bytes as text in kB (10^3) or MB (10^6)."""
    return f'{nbytes / 10**6:.1f} MB' if nbytes >= 10**6 else f'{nbytes / 1000:.0f} kB'


def _percent(share: float) -> str:
    return '< 0.1 %' if 0 < share < 0.001 else f'{100 * share:.1f} %'


def _time(seconds: float) -> str:
    return f'{seconds:.1f} s' if seconds >= 1 else f'{1000 * seconds:.0f} ms'
