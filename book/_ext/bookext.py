"""Sphinx extension of this book: links to the copy it is built from, docstrings in our style, one patch."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config

TOOLS = Path(__file__).resolve().parents[1] / "_tools"
FIELD = re.compile(r"^(State|Chapter|Differs|Source|Loss): (.*)$")
SHAPE = re.compile(r"(``[^`]*``)|(\[[\w*.,/ +-]*[A-Z*][\w*.,/ +-]*\](?!_))")
ARGUMENT = re.compile(r"^((?:``)?\w+(?:``)?(?:, (?:``)?\w+(?:``)?)*): (\S.*)$")
PLAIN = re.compile(
    r"(``[^`]*``)|(\|)|(?<![\w`])([a-z]\w*_)(?=[\s,.:;)]|$)"
)  # bars and names such as classes_ are no markup
NEXT_ARGUMENT = re.compile(r"(?<=[.;]) (?=\w+(?:, \w+)*: )")  # several on one line


def links(app: Sphinx, config: Config) -> None:
    """Colab, edit and download links, and the book's own address, of the repository that is being built."""
    tools = next(p for p in (TOOLS, Path(app.srcdir).resolve().parents[1] / "book" / "_tools") if p.is_dir())
    sys.path.insert(0, str(tools))
    import repository

    url = repository.current(tools.parents[1])
    config.html_theme_options = {**config.html_theme_options, "repository_url": url}
    config.html_baseurl = config.ogp_site_url = repository.pages(url)


def docstrings(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings in reStructuredText.

    `State: ...` is a field, `name: ...` an item of a list of arguments, a shape such as [B, S, *X] is code.
    What follows without an empty line goes on with it, unless it says what is raised.
    """
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()
    written: list[str] = []
    before = ""  # kind of the line before: "", "text", "field" or "argument"
    lines[:] = [re.sub(r"\*\*(?=\w+[,)])", r"\*\*", line) for line in lines]  # **options is no bold text
    lines[:] = [PLAIN.sub(lambda m: m[1] or (m[2] and r"\|") or f"``{m[3]}``", line) for line in lines]
    for line in (SHAPE.sub(lambda m: m[1] or f"``{m[2]}``", line) for line in lines):
        if match := FIELD.match(line):
            written += [""] * (before not in ("", "field")) + [f":{match[1]}: {match[2]}"]
            before = "field"
        elif (match := ARGUMENT.match(line)) and before in ("", "argument") and not line.startswith("http"):
            for argument in NEXT_ARGUMENT.split(line):
                name, _, text = argument.partition(": ")
                written.append(f"* **{name.strip('`')}**: {text}")
            before = "argument"
        elif line.strip() and before in ("field", "argument") and not line.startswith("Raises"):
            written.append("  " + line.strip())
        else:
            written += [""] * (bool(line) and before in ("field", "argument")) + [line]
            before = "text" if line else ""
    lines[:] = written


def signatures(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Defaults as they are written: a class by its name, and no inside of a dataclass."""
    if signature:
        signature = (
            re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", signature).replace("~typing.", "").replace("<factory>", "...")
        )
    return signature, returns


def types(app: Sphinx, env: Any, node: nodes.Element, content: nodes.Element) -> nodes.Element | None:
    """Types in signatures need no page of their own: a link where there is one, else the name. Text is held to more."""
    parent: Any = node
    while parent is not None:
        if isinstance(parent, addnodes.desc_signature):
            return content
        parent = parent.parent
    return None


def skip(app: Sphinx, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """What scikit-learn adds to a class of ours is documented there."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def without_thebe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Code runs on Colab, not in the page: leave out the scripts of thebe (which jupyter-book adds, and adds twice)."""
    for kind in ("script_files", "css_files"):
        context[kind] = [f for f in context[kind] if "thebe" not in f"{f.filename} {f.attributes.get('body')}".lower()]


def patch_codeautolink() -> None:
    """Exercises and proofs hold sections without titles; codeautolink takes one title off its stack per section.

    And the type hints of other packages may name what is not there, which raises more kinds of error than it expects.
    """
    from sphinx_codeautolink.extension import block, resolve

    real = resolve.get_type_hints

    def get_type_hints(value: Any) -> dict[str, Any]:
        try:
            return real(value)
        except Exception as error:
            raise TypeError(str(error)) from error

    resolve.get_type_hints = get_type_hints

    visitor = next(v for v in vars(block).values() if isinstance(v, type) and "depart_section" in vars(v))

    def depart_section(self: Any, node: nodes.section) -> None:
        if any(isinstance(child, nodes.title) for child in node.children) and self.title_stack:
            self.title_stack.pop()

    visitor.depart_section = depart_section


def setup(app: Sphinx) -> dict[str, bool]:
    patch_codeautolink()
    app.connect("config-inited", links)
    app.connect("html-page-context", without_thebe, priority=900)
    app.connect("missing-reference", types, priority=900)  # after the inventory of torch
    app.connect("autodoc-process-docstring", docstrings)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", signatures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
