"""Chooses the input: the regular files of a folder that this user can read."""

from __future__ import annotations

import os
import stat
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from secure_queue.errors import ConfigurationError

# Installed packages are not the library itself, and Python rewrites its caches while the demo runs.
LEFT_OUT = frozenset({"site-packages", "dist-packages", "__pycache__"})


def standard_library() -> Path:
    """The folder of Python's own standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def collect(folder: Path, limit: int | None) -> list[Path]:
    """The first *limit* files under *folder* in a lasting order; raises ``ConfigurationError`` if there are none."""
    if not folder.is_dir():
        raise ConfigurationError(f"{_shown(folder)} is not a folder; name one that holds files")
    files = list(islice(_files(folder.resolve()), limit))
    if not files:
        raise ConfigurationError(f"{_shown(folder)} holds no regular files that can be read; name another folder")
    return files


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT)
        yield from filter(_is_input, (Path(parent, name) for name in sorted(names)))


def _is_input(path: Path) -> bool:
    """Whether *path* is a readable regular file, no symlink, and its name is text."""
    try:
        str(path).encode()
        return stat.S_ISREG(path.lstat().st_mode) and os.access(path, os.R_OK)
    except (OSError, UnicodeEncodeError):
        return False


def _shown(folder: Path) -> str:
    return ascii(str(folder))
