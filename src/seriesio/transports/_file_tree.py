"""What a directory holds: every regular file of its tree, each once. All of it blocks."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ..blob import FileBlob
from ..disk import is_part
from ..errors import NotFoundError, SeriesIOError, TransportError
from ..native import Listed, listing, modified_ns
from ..protocols import Entry

__all__ = ["entries", "mapped", "tree"]

_FORBIDDEN: Final = {errno.EACCES, errno.EPERM}
_LEADS_NOWHERE: Final = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG}

Key: TypeAlias = tuple[int, int]  # device and inode: what a file or directory is, by any name


@contextmanager
def mapped(path: str) -> Iterator[None]:
    """Turn the operating system's errors into ours."""
    try:
        yield
    except SeriesIOError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(error.errno, "no such file or directory", path) from error
    except OSError as error:
        raise TransportError(error.errno, error.strerror, error.filename or path) from error
    except ValueError as error:  # a lone surrogate in the path
        raise TransportError(f"{path!r}: {error}") from error


def tree(path: str) -> tuple[list[FileBlob], list[tuple[str, str]]]:
    """The files below a directory, sorted by name; what is no readable file, and why.

    Links are followed, loops noticed; a file with several names counts once, under its own
    name rather than under a link's.

    Raises:
        NotFoundError: there is no such directory.
        TransportError: it cannot be listed, or anything below fails for another reason than a
            missing permission or a broken link: files would be missing in silence.
    """
    with mapped(path):
        walk = _Walk()
        walk.all(path)
    blobs = walk.files + walk.own_links()
    return sorted(blobs, key=lambda blob: blob.name), walk.skipped


@dataclass(eq=False)
class _Walk:
    """One walk through a directory tree."""

    files: list[FileBlob] = field(default_factory=list)
    links: list[tuple[FileBlob, Key]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    folders: set[Key] = field(default_factory=set)
    seen: set[Key] = field(default_factory=set)

    def all(self, root: str) -> None:
        pending = [("", root)]
        while pending:
            prefix, path = pending.pop()
            try:
                found = self._entries(path)
            except OSError as error:
                if not prefix:
                    raise
                self.skipped.append((prefix.rstrip("/"), _why(error, path)))
                continue
            base = os.path.join(path, "")
            folders = [entry[0] for entry in found if self._is_folder(entry, prefix, base)]
            pending += [(f"{prefix}{name}/", base + name) for name in reversed(folders)]

    def _entries(self, path: str) -> list[Listed]:
        status = os.stat(path)
        key = status.st_dev, status.st_ino
        if key in self.folders:
            return []  # a loop of links, or a directory that was reached before
        self.folders.add(key)
        return sorted(_listed(path))

    def _is_folder(self, entry: Listed, prefix: str, base: str) -> bool:
        """True for directories; files are noted."""
        name, failed, mode, size, *key, modified = entry
        if failed and is_part(name):  # its writer was done with it, or gave it up
            self.skipped.append((prefix + name, "still being written"))
            return False
        path, link = base + name, stat.S_IFMT(mode) == stat.S_IFLNK
        try:
            if failed:
                raise OSError(failed, os.strerror(failed), path)
            if link:
                status = os.stat(path)
                mode, size, key = status.st_mode, status.st_size, [status.st_dev, status.st_ino]
                modified = modified_ns(status)
        except OSError as error:
            self.skipped.append((prefix + name, _why(error, path)))
            return False
        kind = stat.S_IFMT(mode)
        if kind == stat.S_IFDIR:
            return True
        if is_part(name):
            self.skipped.append((prefix + name, "still being written"))
        elif kind != stat.S_IFREG:
            self.skipped.append((prefix + name, "no regular file"))
        else:
            blob = FileBlob(prefix + name, path, size, modified=modified)
            self._file(blob, (key[0], key[1]), link)
        return False

    def _file(self, blob: FileBlob, key: Key, link: bool) -> None:
        if link:
            self.links.append((blob, key))
        elif key in self.seen:
            self.skipped.append((blob.name, "another name of a file"))
        else:
            self.seen.add(key)
            self.files.append(blob)

    def own_links(self) -> list[FileBlob]:
        """Links to files that have no other name in the tree."""
        kept = []
        for blob, key in sorted(self.links, key=lambda link: link[0].name):
            if key in self.seen:
                self.skipped.append((blob.name, "another name of a file"))
            else:
                self.seen.add(key)
                kept.append(blob)
        return kept


def _listed(path: str) -> list[Listed]:
    """What a directory holds, each entry itself."""
    found = listing(path)
    if found is None:
        with os.scandir(path) as scan:
            found = [_looked_at(entry) for entry in scan]
    return found


def _looked_at(entry: os.DirEntry[str]) -> Listed:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        return entry.name, error.errno or errno.EIO, 0, 0, 0, 0, 0
    about = status.st_mode, status.st_size, status.st_dev, status.st_ino, modified_ns(status)
    return entry.name, 0, *about


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _why(error: OSError, path: str) -> str:
    """Why something can be skipped.

    Raises:
        TransportError: it must not be: nobody can say what is there.
    """
    if error.errno in _FORBIDDEN:
        return "unreadable"
    if error.errno in _LEADS_NOWHERE and os.path.islink(path):
        return "broken link"
    raise TransportError(error.errno, error.strerror, path) from error


def entries(path: str) -> list[Entry]:
    """What is directly inside a directory, sorted by name; of a file, the file.

    Raises:
        NotFoundError, TransportError: it is not there, or cannot be listed.
    """
    with mapped(path):
        status = os.stat(path)
        if not stat.S_ISDIR(status.st_mode):
            return [Entry(path, os.path.basename(path), "file", status.st_size)]
        with os.scandir(path) as scan:
            found = sorted(scan, key=lambda entry: entry.name)
        return [_entry(entry) for entry in found if not is_part(entry.name)]


def _entry(entry: os.DirEntry[str]) -> Entry:
    if _is_dir(entry):
        return Entry(entry.path, entry.name, "directory")
    try:
        size = entry.stat().st_size
    except OSError:  # a link to nothing
        size = None
    return Entry(entry.path, entry.name, "file", size)
