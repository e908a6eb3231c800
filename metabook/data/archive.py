"""Reading images from a zip file in memory: nothing is ever extracted to the disk."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

MOST_BYTES = 1 << 20  # of one member, unpacked; an Omniglot drawing has about 300


class Archive:
    """The members of a zip file, by path.

    Raises ValueError if the file is no zip file, is damaged, or has members that would leave the folder it is meant
    for; FileNotFoundError if it is not there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._zip = zipfile.ZipFile(self.path)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{self.path}: no zip file, or cut short ({error}); fetch it again") from error
        for name in self._zip.namelist():
            parts = PurePosixPath(name.replace("\\", "/"))
            if parts.is_absolute() or ".." in parts.parts or ":" in name:
                self._zip.close()
                raise ValueError(f"{self.path}: member {name!r} points outside the archive; refused")

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def files(self, suffix: str) -> Iterator[PurePosixPath]:
        """The paths that end in ``suffix``, sorted; hidden files and what macOS adds are left out."""
        for name in sorted(self._zip.namelist()):
            path = PurePosixPath(name)
            hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
            if name.endswith(suffix) and not hidden:
                yield path

    def read(self, name: PurePosixPath) -> bytes:
        """The content of one member. Raises ValueError if it is not there, is damaged or is far too big."""
        try:
            info = self._zip.getinfo(str(name))
            if info.file_size > MOST_BYTES:
                raise ValueError(f"{self.path}: member {name} has {info.file_size} bytes; allowed are {MOST_BYTES}")
            return self._zip.read(info)
        except KeyError as error:
            raise ValueError(f"{self.path}: no member {name}; the archive has another layout") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"{self.path}: member {name} is damaged ({error}); fetch the archive again") from error

    def drawing(self, name: PurePosixPath, *, size: int) -> Tensor:
        """A drawing of dark ink on white, [size, size] uint8 with ink = 255. Raises ValueError if it is none."""
        try:
            with Image.open(io.BytesIO(self.read(name))) as image:
                if image.size != (size, size):
                    raise ValueError(
                        f"{self.path}: {name} is {image.width} x {image.height}; {size} x {size} is needed"
                    )
                return torch.from_numpy(255 - np.asarray(image.convert("L")))
        except OSError as error:
            raise ValueError(f"{self.path}: {name} is no readable image ({error}); fetch the archive again") from error
