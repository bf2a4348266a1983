"""seriesio: whole medical image series as sorted, georeferenced numpy volumes, with asyncio."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from . import errors
from .progress import Progress
from .protocols import Entry, Receipt, SeriesSummary
from .report import Report

if TYPE_CHECKING:
    from .client import Client, Limits
    from .series import Series

__all__ = [
    "Client",
    "Entry",
    "Limits",
    "Progress",
    "Receipt",
    "Report",
    "Series",
    "SeriesSummary",
    "errors",
]

__version__ = "0.1.0"

# What needs numpy and anyio is imported when it is first asked for: a command line that prints
# its help, or a service that starts, need not wait for them.
_LATE = {"Client": "client", "Limits": "client", "Series": "series"}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_LATE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
