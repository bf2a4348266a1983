"""Optional packages, imported when they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import MissingDependencyError

__all__ = ["package"]


def package(name: str, extra: str) -> Any:
    """An optional package.

    Raises:
        MissingDependencyError: it is not installed; says which extra has it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        needed = name.split(".")[0]
        raise MissingDependencyError(
            f'this needs {needed}: pip install "seriesio[{extra}]"'
        ) from error
