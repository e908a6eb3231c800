"""The arrows between the parts, the size of files, and words that must not be there."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "metabook"
# May import anything:
ABOVE_ALL = {"", "__main__", "benchmark", "cli", "commands", "cost", "drawn", "embeddings", "registry", "runs"}
ABOVE_ALL |= {"chosen", "continual", "measure", "optimizers_record", "record", "recipes", "systems"}
ABOVE_ALL |= {"at_test"}
ABOVE_ALL |= {"estimator", "estimator_input", "open_set", "pretrain", "pretrained", "ready"}
ALLOWED = {
    "core": {"core"},
    "nn": {"core", "nn"},
    "data": {"core", "data"},
    "tasks": {"core", "data", "tasks"},
    "systems": {"core", "nn"},
}
LONGEST = 200


def modules() -> dict[str, Path]:
    """Dotted name -> file, for every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def layer(module: str) -> str:
    """The part of the package that ``module`` belongs to. The protocol of tasks is an interface, and so core."""
    first = (module.split(".") + [""])[1]
    if module == "metabook.tasks.protocol":
        return "core"
    if first in ABOVE_ALL:
        return "top"
    if first in ("nn", "data", "tasks"):
        return first
    return "systems" if (PACKAGE / first).is_dir() else "core"


def imports(source: str, module: str, known: set[str]) -> set[str]:
    """Modules of the package that ``source`` imports anywhere, in functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are written in full, from metabook.x import y"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in known else node.module or "")
    return {name for name in found if name.split(".")[0] == "metabook"}


def wrong_arrows(source: str, module: str, known: set[str]) -> list[str]:
    """What ``module`` imports and must not."""
    mine, wrong = layer(module), []
    if mine == "top":
        return []
    for other in imports(source, module, known):
        sibling = mine == layer(other) == "systems" and (module == other or module == other.rpartition(".")[0])
        if layer(other) not in ALLOWED[mine] and not sibling:
            wrong.append(f"{module} ({mine}) imports {other} ({layer(other)})")
    return wrong


def test_arrows() -> None:
    known = modules()
    assert len(known) > 20
    wrong = [w for name, path in known.items() for w in wrong_arrows(path.read_text("utf-8"), name, set(known))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("metabook.training", "from metabook.nn import MLP"),
        ("metabook.training", "from metabook.registry import build"),
        ("metabook.learner", "import metabook.tasks.sinusoids"),
        ("metabook.nn.layers", "from metabook.tasks import Sinusoids"),
        ("metabook.tasks.sinusoids", "from metabook.metric.prototypical import ProtoNet"),
        ("metabook.tasks.sinusoids", "def f():\n    from metabook.baselines import Joint"),
        ("metabook.metric.prototypical", "from metabook.optimization import maml"),
        ("metabook.baselines.joint", "from metabook.baselines.linear import BayesLinear"),
        ("metabook.optimization.maml", "from metabook.tasks.sinusoids import Sinusoids"),
    ],
)
def test_a_wrong_arrow_is_seen(module: str, line: str) -> None:
    assert wrong_arrows(line, module, set(modules()))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("metabook.training", "from metabook.tasks.protocol import Tasks"),
        ("metabook.metric", "from metabook.metric.prototypical import ProtoNet"),
        ("metabook.metric.prototypical", "from metabook.nn import MLP"),
        ("metabook.registry", "from metabook.metric import ProtoNet"),
    ],
)
def test_a_right_arrow_passes(module: str, line: str) -> None:
    assert not wrong_arrows(line, module, set(modules()))


def test_files_are_short() -> None:
    files = [p for folder in ("metabook", "book") for p in (ROOT / folder).rglob("*.py")]
    lengths = {str(p.relative_to(ROOT)): len(p.read_text("utf-8").splitlines()) for p in files}
    assert not {name: n for name, n in lengths.items() if n > LONGEST}


def tracked() -> list[Path]:
    """Text files under version control; every file of the main folders where there is no git."""
    git = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    names = git.stdout.split("\0")[:-1] if git.returncode == 0 else []
    paths = [ROOT / n for n in names] or [
        p for f in ("metabook", "book", "notebooks", "tests") for p in (ROOT / f).rglob("*")
    ]
    endings = {".py", ".md", ".ipynb", ".toml", ".yml", ".cff", ".json", ".txt", ".cfg", ".css", ".bib", ""}
    return [p for p in paths if p.is_file() and p.suffix in endings and "vendor" not in p.parts]


FORBIDDEN = {
    "a path of one machine": r"(?<![\w.}])/(?:work|tmp|root|opt|home|Users)/\w",
    "the unrelated program of our import name": r"pip install (?:-\w+ )*metabook(?![\w-])",
    "an unfinished place": r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_forbidden_words(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if path != Path(__file__).resolve() and (match := pattern.search(line)) and '"image/png"' not in line:
                found.append(f"{path.relative_to(ROOT)}:{number}: {match[0]}")
    assert not found, f"{what}:\n" + "\n".join(found)
