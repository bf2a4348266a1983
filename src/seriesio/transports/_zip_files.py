"""The files behind a zip that is written: copied, locked, put in place. All of it blocks."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from .. import disk
from ..disk import write_all
from ..errors import NotFoundError, SeriesIOError, TransportError

__all__ = ["copy_range", "lock_for_writing", "mapped", "publish", "write_all"]

_STEP = 1 << 20
_NO_COPY_RANGE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def mapped(path: str) -> Iterator[None]:
    """Turn the operating system's errors into ours, naming the zip file."""
    try:
        yield
    except SeriesIOError:
        raise
    except FileNotFoundError as error:
        raise NotFoundError(error.errno, "no such directory for the zip file", path) from error
    except OSError as error:
        raise TransportError(error.errno, f"cannot write: {error.strerror}", path) from error
    except ValueError as error:  # a NUL in the path
        raise TransportError(f"{path!r}: cannot write: {error}") from error


def lock_for_writing(fd: int, path: str) -> None:
    """Claim an existing zip for this writer, until its descriptor is closed.

    Raises:
        TransportError: another writer of ours has claimed it.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TransportError(error.errno, "another writer is appending to it", path) from error
    except OSError as error:
        # File systems without locks: the check before the replacing has to do.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise


def copy_range(source: int, target: int, offset: int, count: int) -> int:
    """Append up to ``count`` bytes from ``offset`` of one file to another; how many it were.

    The kernel copies (or shares the blocks, where the file system can).
    """
    try:
        return os.copy_file_range(source, target, count, offset)
    except AttributeError:  # not on this platform
        pass
    except OSError as error:
        if error.errno not in _NO_COPY_RANGE:
            raise
    return write_all(target, [os.pread(source, min(count, _STEP), offset)])


def publish(part: str, target: str, *, replace: bool) -> None:
    """Give a finished zip its name, at once; a new one never takes another's place.

    Raises:
        TransportError: there is a file of that name although there was none before.
    """
    try:
        disk.publish(part, target, replace=replace)
    except FileExistsError as error:
        raise TransportError(errno.EEXIST, "appeared while it was being written", target) from error
    # The file has its name: a file system that cannot sync folders is no failure any more.
    disk.sync_folder(os.path.dirname(target))
