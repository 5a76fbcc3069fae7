"""Pages of the documentation site whose source lies outside of docs/ (a hook of mkdocs)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / 'benchmarks' / 'results'
PAGES = {
    'index.md': 'README.md', 'changelog.md': 'CHANGELOG.md', 'contributing.md': 'CONTRIBUTING.md',
}  # fmt: skip
API = (
    'adapters', 'quant', 'highway', 'backbones', 'taskfile', 'hooks', 'engine', 'inference',
    'inference.bank', 'own_data',
)  # fmt: skip
ROLE = re.compile(r':(?:mod|class|func|meth|attr|data|exc):(?=<code>)')  # of Sphinx, in docstrings
LINK = re.compile(r'\[([^\[\]]*)\]\(([^)#\s]+)(#[^)]*)?\)')


def on_files(files: Files, config: Any) -> Files:
    """Add the pages made of README, CHANGELOG, the results of benchmarks, and docstrings."""
    for uri, name in PAGES.items():
        files.append(File.generated(config, uri, content=(ROOT / name).read_text('utf-8')))
    for path in sorted([*RESULTS.rglob('*.md'), *RESULTS.rglob('*.png')]):
        uri = f'results/{path.relative_to(RESULTS).as_posix()}'
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    for name in API:
        files.append(File.generated(config, f'api/{name}.md', content=_api_page(name)))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Let links to files of the repository point to their pages; others become plain text."""
    return LINK.sub(lambda link: _rewritten(link, page.file.src_uri, files), markdown)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Remove the roles of Sphinx and line breaks at ±; the start page needs no navigation."""
    if page.is_homepage:
        page.meta['hide'] = ['navigation']
    return ROLE.sub('', html).replace(' ± ', '&nbsp;±&nbsp;')


def _api_page(name: str) -> str:
    """Return the directives of a module, and of functions that are named as their own module."""
    folder = ROOT / 'mmqadapter' / name
    exported = (folder / '__init__.py').read_text('utf-8') if folder.is_dir() else ''
    page = f'::: mmqadapter.{name}\n'
    for path in sorted(folder.glob('*.py')):
        function = path.stem
        if f"'{function}'" in exported and f'\ndef {function}(' in path.read_text('utf-8'):
            page += f'\n::: mmqadapter.{name}.{function}.{function}\n'
            page += '    options: {heading_level: 2}\n'
    return page


def _rewritten(link: re.Match, page: str, files: Files) -> str:
    text, target, anchor = link[1], link[2], link[3] or ''
    if '://' in target:
        return link[0]
    path = _in_repository(page, target)
    if not (ROOT / path).exists():
        raise PluginError(f'{page} links to {target!r}, which does not exist.')
    uri = _page_of(path)
    if files.get_file_from_path(uri) is None:
        return f'`{path}`' if text.strip('`') in path else f'{text} (`{path}`)'
    depth = '../' * page.count('/')
    return f'[{text}]({depth}{uri}{anchor})'


def _in_repository(page: str, target: str) -> str:
    """Return the path of a link's target below the root of the repository."""
    if page in PAGES:
        source = ROOT / PAGES[page]
    elif page.startswith('results/'):
        source = RESULTS / page.removeprefix('results/')
    else:
        source = ROOT / 'docs' / page
    absolute = (source.parent / target).resolve()
    return absolute.relative_to(ROOT).as_posix() if absolute.is_relative_to(ROOT) else target


def _page_of(path: str) -> str:
    for uri, name in PAGES.items():
        if path == name:
            return uri
    if path.startswith('mmqadapter/'):
        return f'api/{path.split("/")[1].removesuffix(".py")}.md'
    if (ROOT / path / 'report.md').is_file():
        path += '/report.md'
    return path.removeprefix('docs/').replace('benchmarks/results/', 'results/')
