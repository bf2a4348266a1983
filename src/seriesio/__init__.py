"""seriesio: whole medical image series as sorted, georeferenced numpy volumes, with asyncio."""

from __future__ import annotations

from . import errors
from .client import Client, Limits
from .progress import Progress
from .protocols import Entry, Receipt, SeriesSummary
from .report import Report
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
