"""The API page holds every public name of the package."""

from __future__ import annotations

import importlib
import re
import zlib
from pathlib import Path

import public_names
import pytest
import torch_inventory

import metabook

ROOT = Path(__file__).resolve().parents[2]
MODULES = re.findall(r"\{public-names\} (\S+)", (ROOT / "book" / "api.md").read_text("utf-8"))
# Commands and helpers that readers do not import.
INSIDE = {"checks", "cli", "commands", "compiled", "files", "kernels", "progress", "resuming"}
INSIDE |= {
    "benchmark",
    "continual",
    "cost",
    "loops",
    "measure",
    "meta_gradient",
    "optimizers_record",
    "recipe",
    "recipes",
    "record",
    "systems",
}
INSIDE |= {"functions", "timer"}
INSIDE |= {"estimator_input", "pretrain", "subnormal"}


def test_every_module_is_on_the_page() -> None:
    there = {p.stem for p in (ROOT / "metabook").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    there = {name for name in there if not name.startswith("_")} - INSIDE
    assert {f"metabook.{name}" for name in there} - set(MODULES) == set()


def test_every_name_is_shown_once() -> None:
    shown = [value for name in MODULES for value in public_names.names(importlib.import_module(name)).values()]
    assert len(shown) == len({id(value) for value in shown})
    wanted = [getattr(metabook, name) for name in metabook.__all__]
    missing = [w for w in wanted if (isinstance(w, type) or callable(w)) and not any(w is s for s in shown)]
    assert missing == []


def test_every_name_has_a_text() -> None:
    for name in MODULES:
        for public, value in public_names.names(importlib.import_module(name)).items():
            text = value.__doc__ or ""
            assert text and not text.startswith(f"{public}("), f"{name}.{public} has no docstring"


def test_a_folder_keeps_its_own_names() -> None:
    assert "MAML" in public_names.names(importlib.import_module("metabook.optimization"))
    assert "MAML" not in public_names.names(metabook)
    assert "Episode" in public_names.names(metabook)
    assert "Episode" not in public_names.names(importlib.import_module("metabook.episode"))
    assert "load" in public_names.names(importlib.import_module("metabook.data.glyphs"))  # another than metabook.load


def test_the_built_page_has_them() -> None:
    inventory = ROOT / "_build" / "html" / "objects.inv"
    if not inventory.exists():
        pytest.skip("no built book: run make book first")
    text = zlib.decompress(inventory.read_bytes().split(b"zlib.\n", 1)[1]).decode()
    known = {line.split(" ")[0] for line in text.splitlines()}
    assert {"metabook.train", "metabook.MetaLearner.adapt", "metabook.optimization.MAML"} <= known
    assert "metabook.learner.MetaLearner" in known  # the name that signatures say


def test_inventory_of_torch() -> None:
    found = torch_inventory.entries()
    assert found["torch.nn.Module"] == ("py:class", "generated/torch.nn.Module.html#torch.nn.Module")
    assert found["torch.nn.modules.module.Module"] == found["torch.nn.Module"]
    assert found["torch.func.vmap"][0] == "py:function"
    assert found["torch.distributions.Normal"][1] == "distributions.html#torch.distributions.Normal"
    assert not [name for name in found if not name.startswith("torch")]
