"""For tests, ours and yours: series made on the spot, and what every transport has to do.

:func:`phantom` makes DICOM series of any kind, and knows what has to be read from them;
:class:`DicomArchive` is an archive in this process, which can be told to misbehave;
:class:`XnatServer` is an XNAT stand-in, as willing to misbehave;
:class:`TransportContract` is a class of tests to inherit, its fixture a :class:`Place`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .contract import Place, TransportContract
from .phantom import Phantom, phantom

if TYPE_CHECKING:
    from ._archive_faults import Faults
    from ._archive_records import AssociationRecord, Identity, Request
    from ._xnat_faults import XnatFaults
    from ._xnat_records import XnatRequest
    from .archive import DicomArchive
    from .xnat import XnatServer

__all__ = [
    "AssociationRecord",
    "DicomArchive",
    "Faults",
    "Identity",
    "Phantom",
    "Place",
    "Request",
    "TransportContract",
    "XnatFaults",
    "XnatRequest",
    "XnatServer",
    "phantom",
]

# What needs other packages is imported when it is first asked for.
_LATE = {
    "AssociationRecord": "_archive_records",
    "DicomArchive": "archive",
    "Faults": "_archive_faults",
    "Identity": "_archive_records",
    "Request": "_archive_records",
    "XnatFaults": "_xnat_faults",
    "XnatRequest": "_xnat_records",
    "XnatServer": "xnat",
}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_LATE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
