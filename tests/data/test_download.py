"""Fetching files of data sets without any network: addresses are files, or fail as networks do."""

import errno
import hashlib
import io
import os
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from metabook.data import download
from metabook.data.download import RemoteFile, fetch, find

CONTENT = b"drawings" * 50_000


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """(data, cache): METABOOK_DATA is unset, METABOOK_CACHE is ``cache``."""
    monkeypatch.delenv("METABOOK_DATA", raising=False)
    monkeypatch.setenv("METABOOK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data", tmp_path / "cache"


def remote(tmp_path, content=CONTENT, algorithm="sha256"):
    origin = tmp_path / "origin.zip"
    origin.write_bytes(content)
    return RemoteFile("set/file.zip", origin.as_uri(), algorithm, hashlib.new(algorithm, CONTENT).hexdigest())


def left(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) if folder.exists() else []


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_downloads_once_into_the_cache(tmp_path, folders, algorithm):
    file = remote(tmp_path, algorithm=algorithm)
    assert find(file) is None
    path = fetch(file)
    assert path == folders[1] / "set/file.zip" == find(file) and path.read_bytes() == CONTENT
    (tmp_path / "origin.zip").unlink()
    assert fetch(file) == path and left(folders[1]) == ["set/file.zip"]


def test_downloads_into_metabook_data_and_prefers_it(tmp_path, folders, monkeypatch):
    monkeypatch.setenv("METABOOK_DATA", str(folders[0]))
    assert fetch(remote(tmp_path)) == folders[0] / "set/file.zip"
    assert left(folders[1]) == []


def test_a_read_only_metabook_data_leads_to_the_cache(tmp_path, folders, monkeypatch):
    monkeypatch.setenv("METABOOK_DATA", str(folders[0]))
    folders[0].mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folders[0])
    assert fetch(remote(tmp_path)) == folders[1] / "set/file.zip"


def test_without_settings_the_cache_is_in_the_home_folder(monkeypatch):
    monkeypatch.delenv("METABOOK_DATA", raising=False)
    monkeypatch.delenv("METABOOK_CACHE", raising=False)
    assert download.places() == [Path.home() / ".cache" / "metabook"]


def test_wrong_checksum_of_a_download_leaves_nothing(tmp_path, folders):
    file = remote(tmp_path, content=CONTENT[:-1])  # cut short on the way
    got = hashlib.sha256(CONTENT[:-1]).hexdigest()
    with pytest.raises(ValueError, match=f"{got}, but {file.checksum} is right; it was removed"):
        fetch(file)
    assert left(folders[1]) == []


def test_wrong_checksum_of_a_file_put_there_by_hand_names_it_and_leaves_it(tmp_path, folders):
    mine = folders[1] / "set/file.zip"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"something else")
    with pytest.raises(ValueError, match=f"{mine}: sha256 .* is right; replace it by file:"):
        fetch(remote(tmp_path))
    assert mine.read_bytes() == b"something else"


@pytest.mark.parametrize("error", [urllib.error.URLError("no network"), TimeoutError("no network")])
def test_no_network_says_where_to_put_the_file(tmp_path, folders, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    file = remote(tmp_path)
    wanted = rf"{file.address}: cannot be downloaded \(no network\); get it by other means and put it at .*set/file.zip"
    with pytest.raises(ConnectionError, match=wanted):
        fetch(file)
    assert left(folders[1]) == []


def test_connection_lost_in_the_middle_leaves_nothing(tmp_path, folders, monkeypatch):
    class Lost(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 0:
                raise ConnectionResetError("peer went away")
            return super().read(size)

    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Lost(CONTENT))
    with pytest.raises(ConnectionError, match="peer went away"):
        fetch(remote(tmp_path))
    assert left(folders[1]) == []


def test_full_disk_leaves_nothing(tmp_path, folders, monkeypatch):
    opened = Path.open

    class Full(io.BytesIO):
        def write(self, block):
            raise OSError(errno.ENOSPC, "No space left on device")

    def full(self, mode="r", *rest, **more):
        return Full() if "w" in mode else opened(self, mode, *rest, **more)

    file = remote(tmp_path)
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match=r"set/file.zip: cannot be written .No space left.*set METABOOK_DATA") as raised:
        fetch(file)
    assert raised.value.errno == errno.ENOSPC and left(folders[1]) == []


def test_read_only_cache(tmp_path, folders, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    file = remote(tmp_path)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match=r"set/file.zip: cannot be written .Read-only file system"):
        fetch(file)
