"""A notebook as one HTML page whose figures keep their alternative text, and whose links to other notebooks lead to their pages."""

import re

from jinja2 import DictLoader
from nbconvert import HTMLExporter
from nbformat import NotebookNode

# nbconvert 7's own page (its "lab" template) drops an output's alternative text; its old "classic" one writes it
TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block data_png scoped -%}
{%- set alt = output | get_metadata('alt', 'image/png') or '' -%}
{{ super() | replace('<img ', '<img alt="' ~ alt | escape_html ~ '" ', 1) }}
{%- endblock data_png -%}
"""


BESIDE = re.compile(r'(<a [^>]*href="[^":/?#]+)\.ipynb(["#])')  # a notebook in the same folder, where its page lies too


def to_html(notebook: NotebookNode) -> str:
    """The page, as `jupyter nbconvert --to html` writes it, with the alternative texts that `show` gave.

    Its title, which a browser's tab and bookmarks show, is the notebook's. A link to a notebook beside this one
    leads to that notebook's page: a browser would show the notebook itself as text, or save it.
    """
    exporter = HTMLExporter(extra_loaders=[DictLoader({"figures.html.j2": TEMPLATE})], template_file="figures.html.j2")
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    title = re.search(r"^# (.+)", prose, re.MULTILINE)
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title[1] if title else "Notebook"}})
    return BESIDE.sub(r"\1.html\2", page)
