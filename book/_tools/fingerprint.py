"""What a notebook's result depends on, as one hash: the key of every cache of the book."""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(__file__).resolve().parent
CACHE = ROOT / "_build" / "cache"


def digest(*parts: bytes | str) -> str:
    """Hash of ``parts``, each with its length, so that no two lists run together."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(str(len(data)).encode() + b":" + data)
    return total.hexdigest()[:32]


@cache
def package() -> str:
    """Hash of every file of the package, names and contents: sources, recorded results, data."""
    files = sorted(p for p in (ROOT / "metabook").rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return digest(*(part for p in files for part in (str(p.relative_to(ROOT)), p.read_bytes())))


@cache
def environment() -> str:
    """Hash of the Python version, the machine's kind and the version of every installed distribution."""
    found = sorted({f"{d.metadata['Name']}=={d.version}" for d in metadata.distributions()})
    return digest(platform.python_version(), platform.machine(), *found)


def source(path: Path) -> str:
    """Hash of a notebook's cells and their metadata (tags, texts of figures), without outputs."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return digest(*(json.dumps([c["cell_type"], "".join(c["source"]), c["metadata"]], sort_keys=True) for c in cells))


def execution(path: Path, parameters: dict[str, str]) -> str:
    """Key of one execution by papermill."""
    how = (TOOLS / "execute_notebooks.py").read_bytes()
    return digest(str(path.relative_to(ROOT)), source(path), json.dumps(parameters), package(), environment(), how)


def comparison(path: Path) -> str:
    """Key of one comparison with the stored outputs by nbval."""
    how = [(TOOLS / name).read_bytes() for name in ("run_tests.py", "sanitize.cfg")]
    return digest(str(path.relative_to(ROOT)), path.read_bytes(), package(), environment(), *how)
