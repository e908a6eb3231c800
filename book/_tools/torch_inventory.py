"""A Sphinx inventory of PyTorch's public names, so that references to torch resolve without a network."""

from __future__ import annotations

import importlib
import inspect
import zlib
from pathlib import Path

PAGED = ("torch", "torch.nn", "torch.nn.functional", "torch.optim", "torch.func", "torch.autograd", "torch.linalg")
ONE_PAGE = {"torch.distributions": "distributions.html"}


def entries() -> dict[str, tuple[str, str]]:
    """Dotted name -> (role, page of the documentation), for public names and for the names their classes say."""
    found = {"torch.Tensor": ("py:class", "tensors.html#torch.Tensor")}
    for module_name in (*PAGED, *ONE_PAGE):
        module = importlib.import_module(module_name)
        for name, value in vars(module).items():
            if name.startswith("_") or not (inspect.isclass(value) or inspect.isroutine(value)):
                continue
            if not str(getattr(value, "__module__", "") or "torch").startswith("torch"):
                continue
            role, public = "py:class" if inspect.isclass(value) else "py:function", f"{module_name}.{name}"
            page = ONE_PAGE.get(module_name, f"generated/{public}.html")
            found.setdefault(public, (role, f"{page}#{public}"))
            found.setdefault(f"{value.__module__}.{value.__qualname__}", found[public]) if role == "py:class" else None
    for name in ("device", "dtype", "Generator", "Size"):
        found[f"torch.{name}"] = ("py:class", f"tensor_attributes.html#torch.{name}")
    return found


def write(path: Path) -> None:
    """Write the inventory to ``path``."""
    import torch

    head = f"# Sphinx inventory version 2\n# Project: PyTorch\n# Version: {torch.__version__.partition('+')[0]}\n"
    head += "# The remainder of this file is compressed using zlib.\n"
    body = "".join(f"{name} {role} 1 {page} -\n" for name, (role, page) in sorted(entries().items()))
    path.write_bytes(head.encode() + zlib.compress(body.encode(), 9))


if __name__ == "__main__":
    import sys

    write(Path(sys.argv[1]))
