"""NIfTI-1 and NIfTI-2 files."""

from __future__ import annotations

from .format import NiftiFormat

__all__ = ["NiftiFormat"]
