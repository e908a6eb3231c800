"""The directive {public-names}: everything a module makes public, each name once, by autodoc.

    ```{public-names} metabook.optimization
    ```

A package says what it makes public in ``__all__``; a module without it, by names without underscore defined in it.
"""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def names(module: ModuleType) -> dict[str, Any]:
    """Public name -> object, each in one module only.

    What a folder of the package makes public belongs to that folder; what a module makes public, and the package too,
    belongs to the package.
    """
    package = importlib.import_module(module.__name__.partition(".")[0])
    above = [] if module is package or hasattr(module, "__path__") else list(vars(package).values())
    if hasattr(module, "__all__"):
        found = {name: getattr(module, name) for name in module.__all__}
    else:
        found = {n: v for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__}
    kept = {}
    for name, value in found.items():
        home = getattr(value, "__module__", module.__name__)
        below = home.startswith(f"{module.__name__}.") and home.count(".") > module.__name__.count(".") + 1
        shown = not name.startswith("_") and (inspect.isclass(value) or inspect.isroutine(value))
        if shown and not below and not any(value is other for other in above):
            kept[name] = value
    return kept


def directives_for(module: ModuleType) -> list[str]:
    """reStructuredText that documents every public name of ``module``."""
    lines = []
    for name, value in names(module).items():
        if inspect.isclass(value):
            lines += [f".. autoclass:: {module.__name__}.{name}", "   :members:", ""]
        else:
            lines += [f".. autofunction:: {module.__name__}.{name}", ""]
    return lines


class PublicNames(SphinxDirective):
    """See the module's text."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The first paragraph of the module's text, then its names."""
        module = importlib.import_module(self.arguments[0])
        self.env.note_dependency(module.__file__ or "")
        if not names(module) and not hasattr(module, "__path__"):
            return []  # all its names stand higher up
        idea = (module.__doc__ or "").strip().partition("\n\n")[0].splitlines()
        lines = ["```{eval-rst}", *idea, "", *directives_for(module), "```"]
        holder = nodes.container(classes=["public-names"])
        self.state.nested_parse(StringList(lines, source=module.__name__), self.content_offset, holder)
        return holder.children


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("public-names", PublicNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
