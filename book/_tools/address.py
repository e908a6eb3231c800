"""Change the repository's address everywhere: make address URL=https://github.com/you/metabook"""

from __future__ import annotations

import sys
from pathlib import Path

import repository
import setup_cell

COPIES = ("_config.yml", "README.md", "CITATION.cff", "pyproject.toml")


def change(url: str, root: Path = repository.ROOT) -> list[Path]:
    """Write ``url`` in place of the old address in every file that holds it; the files that changed."""
    url = url.rstrip("/").removesuffix(".git")
    if not repository.ADDRESS.fullmatch(url):
        raise ValueError(f"URL: {url!r} given; an address such as https://github.com/you/metabook is needed")
    old, changed = repository.address(root), []
    for path in setup_cell.notebooks(root):
        if setup_cell.replace(path, setup_cell.text(old), setup_cell.text(url)):
            changed.append(path)
    for path in (root / name for name in COPIES):
        text = path.read_text(encoding="utf-8")
        new = text.replace(old, url).replace(repository.pages(old), repository.pages(url))
        if new != text:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    try:
        if len(sys.argv) != 2:
            raise ValueError("URL: nothing given; write make address URL=https://github.com/you/metabook")
        for changed in change(sys.argv[1]):
            print(changed.relative_to(repository.ROOT))
    except ValueError as error:
        sys.exit(str(error))
