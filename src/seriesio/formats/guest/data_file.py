"""The data file beside a header of text: found by the name that the header tells, or to be written.

No header leads to another directory, nor to more than one file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ...errors import DataError
from .data import listed, sibling

if TYPE_CHECKING:
    from ...blob import Blob

__all__ = ["data_file", "wants_data_file"]

_TOLD: Final = 100  # characters of a name that an error shows


def data_file(told: str, name: str, files: Mapping[str, Blob], *, skips: bool) -> Blob:
    """The data file that the header in the file ``name`` tells of.

    ``skips``: the header says to skip bytes of it, as it must where it tells of its own file.

    Raises:
        DataError: several files, one that lies elsewhere or is missing, or the header itself.
    """
    if listed(told):
        raise DataError(f"{name}: its voxels are in a list or pattern of files; join them first")
    file = sibling(name, told)
    if file is None:
        raise DataError(f"{name}: its data file is not in the same directory")
    if file not in files:
        raise DataError(f"{name}: its data file {file[:_TOLD]!r} is missing")
    if file == name and not skips:
        raise DataError(f"{name}: the header is said to be its own data file")
    return files[file]


def wants_data_file(options: Mapping[str, Any], extension: str) -> bool:
    """Do the options ask for one: by ``detached``, or else by the target's ``extension``?"""
    detached = options["detached"]
    return options["extension"].lower() == extension if detached is None else bool(detached)
