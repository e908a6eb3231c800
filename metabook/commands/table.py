"""Plain text tables."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], head: Sequence[str] | None = None, *, indent: str = "") -> str:
    """Rows in columns as wide as their widest cell, two spaces apart, with an underlined head if there is one."""
    every = [list(row) for row in ([head, *rows] if head is not None else rows)]
    if not every:
        return ""
    widths = [max(len(row[i]) for row in every) for i in range(len(every[0]))]
    if head is not None:
        every.insert(1, ["-" * width for width in widths])
    return "\n".join(indent + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in every)
