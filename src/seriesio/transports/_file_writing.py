"""Files on their way into a directory: all of them get their names, or none. All of it blocks."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from ..blob import Blob, PiecesBlob
from ..blob_pieces import pieces_of
from ..disk import part_name, publish, put_aside, put_back, write_all
from ..errors import LocationError, SeriesIOError, TargetExistsError, TransportError

__all__ = ["CHUNK", "Staging", "mapped_writing"]

CHUNK: Final = 1 << 20


@contextmanager
def mapped_writing(path: str) -> Iterator[None]:
    """Turn the operating system's errors while writing into ours."""
    try:
        yield
    except SeriesIOError:
        raise
    except FileExistsError as error:
        what = error.filename2 or error.filename or path
        raise TargetExistsError(error.errno, "exists already", what) from error
    except OSError as error:
        raise TransportError(error.errno, f"cannot write: {error.strerror}", path) from error
    except ValueError as error:  # a lone surrogate in the path
        raise TransportError(f"{path!r}: {error}") from error


@dataclass(eq=False)
class Staging:
    """One write into a directory: files under passing names, then all renamed, or taken back.

    What is replaced keeps a passing name until all is done.
    Safe to be taken back while a thread that was given up still stores: what it makes from then
    on is refused.
    """

    root: str
    overwrite: bool
    names: list[str] = field(default_factory=list)
    size: int = 0
    _parts: dict[str, str] = field(default_factory=dict)  # of each target, in no order
    _stale: list[str] = field(default_factory=list)
    _made: list[str] = field(default_factory=list)
    _aside: dict[str, str] = field(default_factory=dict)  # what targets replace
    _folders: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: bool = False

    def begin(self) -> None:
        """Make the directory.

        Raises:
            TargetExistsError: there is something else of that name.
            TransportError: it cannot be made.
        """
        with mapped_writing(self.root), self._lock:
            if os.path.lexists(self.root) and not os.path.isdir(self.root):
                raise TargetExistsError(errno.EEXIST, "exists and is no directory", self.root)
            self._folder(self.root)

    def announce(self, batch: Sequence[Blob]) -> None:
        """Note names in the order in which they come.

        Raises:
            LocationError: a name that leads out of the directory.
        """
        self.names += [_safe(blob.name) for blob in batch]
        self.size += sum(blob.size for blob in batch)

    def store(self, batch: Sequence[Blob]) -> None:
        """Write blobs, under passing names.

        Raises:
            TargetExistsError: a name is taken.
            TransportError: a blob cannot be read, or a file cannot be written.
        """
        for blob in batch:
            target = self.target(blob.name)
            with mapped_writing(target):
                fd = self.open_part(target)
                try:
                    _copy(blob, fd)
                finally:
                    os.close(fd)

    def target(self, name: str) -> str:
        return os.path.join(self.root, *_safe(name).split("/"))

    def open_part(self, target: str) -> int:
        """A descriptor for the file that will get the name ``target``."""
        with self._lock:
            self._check_going_on()
            self._check_free(target)
            folder = os.path.dirname(target)
            if not os.path.isdir(folder):
                self._folder(folder)
            part = part_name(folder)
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            if target in self._parts:
                self._stale.append(self._parts[target])
            self._parts[target] = part
            return fd

    def _check_going_on(self) -> None:
        if self._over:
            raise TransportError(errno.ECANCELED, "the write was given up", self.root)

    def _check_free(self, target: str) -> None:
        replaceable = self.overwrite and not os.path.isdir(target)
        if not replaceable and (target in self._parts or os.path.lexists(target)):
            raise TargetExistsError(errno.EEXIST, "exists already", target)

    def _folder(self, path: str) -> None:
        missing = []
        path = path.rstrip(os.sep) or path
        while path and not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for folder in reversed(missing):
            os.mkdir(folder)
            self._folders.append(folder)

    def commit(self) -> None:
        """Give all files their names.

        Raises:
            TargetExistsError: a name was taken meanwhile.
            TransportError: the file system refuses.
        """
        with self._lock:
            self._check_going_on()
            for target, part in self._parts.items():
                with mapped_writing(target):
                    self._publish(part, target)
            self._over = True
            self._remove([*self._stale, *self._aside.values()])
            self._forget()

    def _publish(self, part: str, target: str) -> None:
        if not (self.overwrite and os.path.lexists(target)):
            publish(part, target, replace=False)
            self._made.append(target)
            return
        if os.path.isdir(target):  # made meanwhile
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        aside = part_name(os.path.dirname(target))
        put_aside(target, aside)
        self._aside[target] = aside
        publish(part, target, replace=True)

    def undo(self) -> list[str]:
        """Take back what was made, unless all is done; what others use by now stays.

        Returns what could not get its name back, and where it is now.
        """
        with self._lock:
            self._over = True
            lost = [told for pair in self._aside.items() if (told := _restored(*pair))]
            self._remove([*self._parts.values(), *self._stale, *self._made])
            for folder in reversed(self._folders):
                with suppress(OSError):
                    os.rmdir(folder)
            self._forget()
            return lost

    def _forget(self) -> None:
        self._parts, self._aside = {}, {}
        self._stale, self._made, self._folders = [], [], []

    @staticmethod
    def _remove(paths: Sequence[str]) -> None:
        for path in paths:
            with suppress(OSError):  # it has got its name, or an error is on its way already
                os.unlink(path)


def _restored(target: str, aside: str) -> str | None:
    """Put a replaced file back; says where it is instead if that is refused."""
    try:
        put_back(aside, target)
    except OSError as error:
        return f"{target!r} could not be restored ({error.strerror}): it is kept as {aside!r}"
    return None


def _safe(name: str) -> str:
    if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
        raise LocationError(f"{name!r} is no name inside a directory")
    return name


def _copy(blob: Blob, fd: int) -> None:
    """Append a blob's bytes to a file."""
    if isinstance(blob, PiecesBlob):
        write_all(fd, blob.pieces)
        return
    for piece in pieces_of(blob, CHUNK):
        write_all(fd, [piece])
