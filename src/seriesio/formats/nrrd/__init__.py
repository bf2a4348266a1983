"""NRRD files."""

from __future__ import annotations

from .format import NrrdFormat

__all__ = ["NrrdFormat"]
