"""MetaImage files."""

from __future__ import annotations

from .format import MetaImageFormat

__all__ = ["MetaImageFormat"]
