"""The site: `python -m sphinx -W --keep-going docs docs/_build`, which `.ci/run` does.

Sphinx, as it is kept well, checks every link and reference, and takes these pages as they are
(Markdown, by MyST); MkDocs, the other choice, has had no release since August 2024.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx import addnodes

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "benchmarks")]

import reference  # noqa: E402
import site_pages  # noqa: E402

project = "tensorgrad"
author = "the tensorgrad maintainers"
copyright = author
release = version = importlib.metadata.version("tensorgrad-cupy")

extensions = ["myst_parser"]
root_doc = "index"
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "README.md"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
suppress_warnings = ["ref.python"]  # `Parameter` is tg.Parameter and tg.nn.Parameter, one thing
maximum_signature_line_length = 88
add_module_names = False
add_function_parentheses = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "tensorgrad"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"

_NAMES = re.compile(r"(?:tg\.)?[A-Za-z][\w.]*")


def write_pages(app: Any) -> None:
    """The pages that code gives: reference, gallery, benchmarks, the root's documents."""
    titles = {
        page: (DOCS / f"functions/{page}.md").read_text().partition("\n")[0].lstrip("# ")
        for page in reference.PAGES
    }
    texts = {f"reference/{n}": t for n, t in reference.pages(titles).items()}
    texts |= site_pages.pages(DOCS)
    for name, text in texts.items():
        path = DOCS / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def link_documents(app: Any, name: str, source: list[str]) -> None:
    """Links to files in the repository's root lead to the pages that they are."""
    path = DOCS / f"{name}.md"
    source[0] = site_pages.relinked(source[0], DOCS.parent, path, path)


def link_names(app: Any, doctree: nodes.document) -> None:
    """`tg.softmax` in a text leads to its place in the reference."""
    known = app.env.domaindata["py"].setdefault("tensorgrad_names", known_names())
    for node in list(doctree.findall(nodes.literal)):
        text = node.astext().split("(")[0]
        name = text if text.startswith("tg.") else f"tg.{text}"
        inside = isinstance(node.parent, nodes.reference | addnodes.pending_xref)
        if inside or not _NAMES.fullmatch(text) or name not in known or len(text) < 4:
            continue
        if not text.startswith("tg.") and not app.env.docname.startswith("reference/"):
            continue
        xref = addnodes.pending_xref(
            "", refdomain="py", reftype="obj", reftarget=name, refexplicit=True, refwarn=True
        )
        node.replace_self(xref)
        xref += node


def known_names() -> set[str]:
    found = {
        n for _, names in reference.families(dict.fromkeys(reference.PAGES, "")) for n in names
    }
    return {f"tg.{n}" for n in found}


def inline_math(self: Any, node: Any) -> None:
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def block_math(self: Any, node: Any) -> None:
    self.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """MathML, which browsers show without a script from elsewhere."""
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    app.connect("builder-inited", write_pages)
    app.connect("source-read", link_documents)
    app.connect("doctree-read", link_names)
