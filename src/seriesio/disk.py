"""Files that appear whole: written under a name of their own, then given theirs. All of it blocks.

The operating system's errors pass through; transports turn them into ours.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

__all__ = ["is_part", "part_name", "publish", "put_aside", "put_back", "sync_folder", "write_all"]

_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_MOST_PIECES: Final = 512  # IOV_MAX is 1024
_PART: Final = re.compile(r"\.seriesio-[0-9a-f]{16}\.part")


def part_name(folder: str) -> str:
    """A free path in a folder for a file that is still being written."""
    return os.path.join(folder, f".seriesio-{secrets.token_hex(8)}.part")


def is_part(name: str) -> bool:
    """True for the names of files that are still being written."""
    return _PART.fullmatch(name) is not None


def write_all(fd: int, pieces: Sequence[bytes | memoryview]) -> int:
    """Append all pieces; how many bytes they are."""
    total = 0
    for first in range(0, len(pieces), _MOST_PIECES):
        total += _write_group(fd, pieces[first : first + _MOST_PIECES])
    return total


def _write_group(fd: int, group: Sequence[bytes | memoryview]) -> int:
    wanted = sum(map(len, group))
    done = os.writev(fd, group)
    if done < wanted:  # a signal, a disk that is nearly full, or more than 2 GiB
        _write_rest(fd, group, done)
    return wanted


def _write_rest(fd: int, group: Sequence[bytes | memoryview], done: int) -> None:
    for piece in group:
        rest = memoryview(piece)[done:]
        done = max(done - len(piece), 0)
        while rest:
            rest = rest[os.write(fd, rest) :]


def publish(part: str, target: str, *, replace: bool) -> None:
    """Give a finished file its name, at once; a new one never takes another's place.

    Raises:
        FileExistsError: there is something of that name, and ``replace`` is false.
        OSError: the file system refuses.
    """
    if replace:
        os.replace(part, target)
        return
    try:
        os.link(part, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from error
        os.rename(part, target)
    else:
        _drop(part, target)


def _drop(part: str, target: str) -> None:
    """Drop the first of a file's two names; if that is refused, the second."""
    try:
        os.unlink(part)
    except OSError:
        os.unlink(target)
        raise


def put_aside(target: str, aside: str) -> None:
    """Give what has a name another one too; it is never gone, where there are hard links.

    Raises:
        OSError: the file system refuses; nothing has changed.
    """
    try:
        os.link(target, aside, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.rename(target, aside)


def put_back(aside: str, target: str) -> None:
    """Undo :func:`put_aside`, whether or not something else has got the name meanwhile.

    Raises:
        OSError: the file system refuses; it is still there under the other name.
    """
    os.replace(aside, target)
    with suppress(FileNotFoundError):  # two names of one file stay both
        os.unlink(aside)


def sync_folder(folder: str) -> None:
    """Make names last through a power cut, on file systems that can."""
    with suppress(OSError):
        fd = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
