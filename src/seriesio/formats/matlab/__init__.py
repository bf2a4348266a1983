"""MATLAB files, level 5 and 7.3."""

from __future__ import annotations

from .format import MatlabFormat

__all__ = ["MatlabFormat"]
