"""PostScript, EPS and PDF documents."""

from __future__ import annotations

from .format import PostScriptFormat

__all__ = ["PostScriptFormat"]
