"""The repository's address: one place holds it, everything else is a copy that `make address` rewrites."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r'^(Repository = ")([^"]*)(")$', re.MULTILINE)
ADDRESS = re.compile(r"https://[\w.-]+/[\w.-]+/[\w.-]*[\w-]")


def address(root: Path = ROOT) -> str:
    """The address in pyproject.toml, [project.urls] Repository."""
    match = LINE.search((root / "pyproject.toml").read_text(encoding="utf-8"))
    if not match:
        raise ValueError('pyproject.toml: no line Repository = "https://..." found under [project.urls]')
    return match[2]


def from_remote(remote: str) -> str | None:
    """The web address of a git remote: https, ssh and git@ forms; None if it is none of them."""
    match = re.fullmatch(
        r"(?:https://(?:[^@/]+@)?|ssh://git@|git@)(github\.com)[/:]([^/]+/[^/]+?)(?:\.git)?/?", remote.strip()
    )
    return f"https://{match[1]}/{match[2]}" if match else None


def current(root: Path = ROOT) -> str:
    """Where this copy lives: METABOOK_REPOSITORY_URL, else GITHUB_REPOSITORY, else git's origin, else ``address``."""
    if url := os.environ.get("METABOOK_REPOSITORY_URL"):
        return url.rstrip("/")
    if name := os.environ.get("GITHUB_REPOSITORY"):
        return f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}"
    try:
        git = ["git", "-C", str(root), "remote", "get-url", "origin"]
        remote = subprocess.run(git, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        remote = ""
    return from_remote(remote) or address(root)


def pages(url: str) -> str:
    """The address that GitHub Pages gives the book of the repository ``url``."""
    owner, name = url.rstrip("/").split("/")[-2:]
    return f"https://{owner.lower()}.github.io/{name}/"
