"""The instances of an embedded archive: in memory, or in a directory."""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from ..errors import DicomError, SeriesIOError, TooLargeError
from ._archive_instance import Instance, read_instance

__all__ = ["Holdings"]

_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")


class Holdings:
    """Instances by SOP Instance UID, in the order in which they came; for many threads.

    Args:
        directory: where instances are kept as files; None: in memory.
        instance_limit: bytes that one instance may have.
        capacity: bytes that all may have together.
    """

    def __init__(self, directory: Path | None, instance_limit: int, capacity: int) -> None:
        self.directory = directory
        self.instance_limit = instance_limit
        self.capacity = capacity
        self.skipped: list[tuple[str, str]] = []
        self._size = 0
        self._lock = threading.Lock()
        self._instances: dict[str, Instance] = {}

    def load(self) -> None:
        """Take what is in the directory; what is no readable instance is noted and left alone."""
        for path in _files(self.directory):
            try:
                self._keep(read_instance(path, limit=self.instance_limit))
            except (SeriesIOError, OSError) as error:
                self.skipped.append((path.name, str(error)))

    def read(self, data: bytes) -> Instance:
        """What a file's bytes hold.

        Raises:
            DicomError: no composite instance.
            TooLargeError: more than the limit.
        """
        return read_instance(data, limit=self.instance_limit)

    def put(self, instance: Instance) -> None:
        """Keep an instance; one of the same UID is replaced.

        Raises:
            TooLargeError: the archive is full.
            DicomError: a UID that could not be a file's name.
            OSError: it cannot be written.
        """
        if self._size + instance.size > self.capacity:
            raise TooLargeError(f"{instance.sop_instance}: the archive is full")
        if self.directory is not None:
            instance = _written(self.directory, instance)
        self._keep(instance)

    def _keep(self, instance: Instance) -> None:
        with self._lock:
            old = self._instances.pop(instance.sop_instance, None)
            self._size += instance.size - (old.size if old else 0)
            self._instances[instance.sop_instance] = instance

    def all(self) -> tuple[Instance, ...]:
        """Every instance."""
        with self._lock:
            return tuple(self._instances.values())

    def get(self, uid: str) -> Instance | None:
        """The instance of a UID."""
        with self._lock:
            return self._instances.get(uid)

    def syntaxes(self, sop_class: str) -> list[str]:
        """Transfer syntaxes of the instances of a SOP class, the most frequent one first."""
        found = (one.transfer_syntax for one in self.all() if one.sop_class == sop_class)
        return [syntax for syntax, _ in Counter(found).most_common()]


def _files(directory: Path | None) -> Iterator[Path]:
    if directory is None:
        return
    for folder, folders, names in os.walk(directory):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not name.startswith("."):
                yield path


def _written(directory: Path, instance: Instance) -> Instance:
    """The instance as a file that appears at once, whole."""
    uids = (instance.study, instance.series, instance.sop_instance)
    if not all(_UID.fullmatch(uid) and len(uid) <= 64 for uid in uids):
        raise DicomError("a UID that breaks the standard (PS3.5 section 9.1)")
    folder = directory / instance.study / instance.series
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{instance.sop_instance}.dcm"
    part = folder / f".{instance.sop_instance}.{threading.get_ident()}"
    try:
        part.write_bytes(instance.part10())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return replace(instance, source=path)
