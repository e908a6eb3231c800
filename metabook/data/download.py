"""Finding a file of a data set: by hand in METABOOK_DATA, or downloaded, checked and kept."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from metabook.files import write_whole

SECONDS = 30  #: without an answer for so long, a download is given up


class RemoteFile(NamedTuple):
    """A file with its official place and the checksum of its right content."""

    path: str  #: inside the data folder, for example omniglot/images_background.zip
    address: str
    algorithm: str  #: sha256 or md5
    checksum: str


def places() -> list[Path]:
    """The folders that are searched: $METABOOK_DATA if it is set, then $METABOOK_CACHE or else ~/.cache/metabook."""
    given = os.environ.get("METABOOK_DATA")
    cache = Path(os.environ.get("METABOOK_CACHE") or Path.home() / ".cache" / "metabook")
    return [Path(given), cache] if given else [cache]


def find(file: RemoteFile) -> Path | None:
    """Where the file lies, or None."""
    return next((place / file.path for place in places() if (place / file.path).is_file()), None)


def fetch(file: RemoteFile) -> Path:
    """The file's path; it is downloaded if it is not there: to $METABOOK_DATA if that can be written, else the cache.

    Raises ValueError for a wrong checksum (a bad download is removed, a file put there by hand is left alone),
    ConnectionError if the file cannot be downloaded, OSError if it cannot be read or written.
    """
    found = find(file)
    if found is None:
        return _download(file, next(place for place in places() if _writable(place)) / file.path)
    digest = hashlib.new(file.algorithm)
    try:
        with found.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise OSError(error.errno, f"{found}: cannot be read ({error.strerror})") from error
    if digest.hexdigest() != file.checksum:
        raise ValueError(f"{found}: {_wrong(file, digest.hexdigest())}; replace it by {file.address}")
    return found


def _download(file: RemoteFile, target: Path) -> Path:
    def write(beside: Path) -> None:
        digest = hashlib.new(file.algorithm)
        with beside.open("wb") as out:
            for block in _blocks(file, target):
                digest.update(block)
                out.write(block)
        if digest.hexdigest() != file.checksum:
            raise ValueError(f"{file.address}: the download has {_wrong(file, digest.hexdigest())}; it was removed")

    try:
        return write_whole(target, write)
    except ConnectionError:
        raise
    except OSError as error:
        raise OSError(
            error.errno,
            f"{target}: cannot be written ({error.strerror}); make room, or set METABOOK_DATA to another folder",
        ) from error


def _blocks(file: RemoteFile, target: Path) -> Iterator[bytes]:
    try:
        with urllib.request.urlopen(file.address, timeout=SECONDS) as answer:
            while block := answer.read(1 << 16):
                yield block
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ConnectionError(
            f"{file.address}: cannot be downloaded ({reason}); get it by other means and put it at {target}"
        ) from error


def _wrong(file: RemoteFile, got: str) -> str:
    return f"{file.algorithm} {got}, but {file.checksum} is right"


def _writable(place: Path) -> bool:
    """False if it is plain that no file can be made there; the cache, the last place, is tried in any case."""
    nearest = next(folder for folder in (place, *place.parents) if folder.exists())
    return place == places()[-1] or os.access(nearest, os.W_OK)
