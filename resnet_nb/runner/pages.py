"""A notebook as one HTML page whose figures keep their alternative text."""

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


def to_html(notebook: NotebookNode) -> str:
    """The page, as `jupyter nbconvert --to html` writes it, with the alternative texts that `show` gave."""
    exporter = HTMLExporter(extra_loaders=[DictLoader({"figures.html.j2": TEMPLATE})], template_file="figures.html.j2")
    page, _ = exporter.from_notebook_node(notebook)
    return page
