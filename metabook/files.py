"""Writing files whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_whole(path: str | os.PathLike[str], write: Callable[[Path], object]) -> Path:
    """Let ``write`` make a file beside ``path``, then rename it: readers see the old file or the new one, never a part.

    Creates missing folders. Raises OSError as ``write`` or the file system does, and leaves nothing behind then.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    beside = Path(name)
    try:
        write(beside)
        with beside.open("rb") as done:
            os.fsync(done.fileno())
        beside.chmod(0o644)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def write_json(path: str | os.PathLike[str], data: Any) -> Path:
    """``data`` as indented JSON, written whole. Raises ValueError for NaN or infinite numbers."""
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))
