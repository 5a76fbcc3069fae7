"""Layout of the page, with gradio."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from mmqadapter.inference.image_errors import ImageError
from mmqadapter.serve.html import (
    answer_html,
    error_html,
    heading_html,
    note_html,
    rows_html,
    tasks_html,
    weight,
)
from mmqadapter.serve.predictor import Predictor

WELCOME = 'Drop an image, or take one with the camera.'
WAITING = 16  # requests; further ones are told that the page is busy
KEEP = 600  # seconds after which uploads and overlays are deleted


def build_page(predictor: Predictor, title: str, score_thr: float = 0.3) -> gr.Blocks:
    """Return the page for the tasks of a predictor, not yet served.

    Args:
        predictor: Its tasks.
        title: Heading of the page.
        score_thr: Threshold for scores at the start.
    """
    with gr.Blocks(
        title=title, analytics_enabled=False, delete_cache=(KEEP, KEEP), fill_width=True
    ) as page:
        gr.HTML(heading_html(title))
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                image, tasks, score, button = _inputs(predictor, score_thr)
                gr.HTML(tasks_html(predictor))
            with gr.Column(scale=3, min_width=400):
                status = gr.HTML(note_html(WELCOME))
                with gr.Row():
                    cards = [_card(name) for name in predictor.tasks]
        gr.on(
            [button.click, image.input, tasks.input, score.release],
            _handler(predictor),
            inputs=[image, tasks, score],
            outputs=[status, *(part for card in cards for part in card)],
            preprocess=False,  # an upload stays as it is, and errors are ours
            api_name='predict',
            concurrency_limit=1,
            show_progress='minimal',
            trigger_mode='always_last',
        )
    return page.queue(max_size=WAITING)


def _inputs(predictor: Predictor, score_thr: float) -> tuple[gr.Image, Any, gr.Slider, gr.Button]:
    image = gr.Image(
        sources=['upload', 'webcam', 'clipboard'], type='filepath', label='Image', height=300,
        webcam_options=gr.WebcamOptions(mirror=False),
    )  # fmt: skip
    names = list(predictor.tasks)
    labels = [f'{name} ({weight(task.nbytes)})' for name, task in predictor.tasks.items()]
    tasks = gr.CheckboxGroup(list(zip(labels, names, strict=True)), value=names, label='Tasks')
    score = gr.Slider(
        0, 1, score_thr, step=0.05, label='Least score', visible=predictor.finds_instances
    )
    return image, tasks, score, gr.Button('Predict', variant='primary')


def _card(name: str) -> tuple[gr.Column, gr.Image, gr.HTML]:
    """Return the results of one task; hidden until there are some."""
    with gr.Column(visible=False, min_width=360) as column:
        overlay = gr.Image(
            label=name, alt_text=f'what {name} predicts', interactive=False, format='png',
            buttons=['download', 'fullscreen'], elem_classes='overlay',
        )  # fmt: skip
        rows = gr.HTML()
    return column, overlay, rows


def _handler(predictor: Predictor) -> Callable[..., list[Any]]:
    """Return the function behind the page: from raw inputs to status and cards."""

    def handle(image: dict[str, Any] | None, names: Sequence[str], score_thr: float) -> list[Any]:
        hidden = [gr.Column(visible=False), None, None]
        nothing = hidden * len(predictor.tasks)
        if not image or not image.get('path'):
            return [note_html(WELCOME), *nothing]
        if not names:
            return [note_html('Choose one task or several.'), *nothing]
        try:
            answer = predictor.predict(Path(image['path']), names, score_thr)
        except ImageError as error:
            return [error_html(f'{_shown_name(image)}: {error}'), *nothing]
        cards = []
        for name in predictor.tasks:
            result = answer.results.get(name)
            cards += (
                [gr.Column(visible=True), result.overlay, rows_html(result.rows)]
                if result
                else hidden
            )
        return [answer_html(answer), *cards]

    return handle


def _shown_name(image: dict[str, Any]) -> str:
    return os.path.basename(image.get('orig_name') or image['path'])
