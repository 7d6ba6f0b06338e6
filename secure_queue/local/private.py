"""Files and folders that only their owner may open: keys, passwords, and the data of servers."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from secure_queue.errors import ConfigurationError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def private_folder(folder: Path) -> Path:
    """Make *folder*, and those above it that do not exist; raises ``ConfigurationError`` if others can get into it."""
    try:
        for missing in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)  # parents=True would leave those above open
        status = folder.stat()
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be a folder: {error.strerror}; name another one") from error
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigurationError(f"{folder} is no folder; name another one")
    if status.st_uid != os.geteuid():
        raise ConfigurationError(f"{folder} belongs to another user; name a folder of your own")
    if status.st_mode & _OTHERS:
        raise ConfigurationError(f"{folder} is open to group or world; name a new one, or run: chmod 700 {folder}")
    return folder.resolve()


def write_private(path: Path, content: bytes) -> None:
    """Write a file with mode 0600 in one step; it replaces an older one."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # never readable by others
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}; name another place") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_private(path: Path) -> bytes:
    """Read a file that nobody but its owner can open; raises ``ConfigurationError``."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _OTHERS:
                raise ConfigurationError(f"{path} is open to group or world; run: chmod 600 {path}")
            return file.read()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
