"""The error tree: drawn as it is, and caught at its root."""

from __future__ import annotations

import builtins
import inspect
import re

import pytest

from seriesio import errors
from seriesio.errors import SeriesIOError

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception) and not issubclass(value, Warning)
}


def drawn() -> dict[str, str]:
    """Each class in the drawing, and the one that it hangs on."""
    parents: dict[str, str] = {}
    branch: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"([ │├└─]*)(\w+(?:Error))\b", line)
        if found is None:
            continue
        depth = len(found[1])
        while branch and branch[-1][0] >= depth:
            branch.pop()
        parents[found[2]] = branch[-1][1] if branch else ""
        branch.append((depth, found[2]))
    return parents


def test_the_drawing() -> None:
    """The drawing in the docstring is the tree of classes."""
    real = {
        name: next((base.__name__ for base in cls.__bases__ if base in CLASSES.values()), "")
        for name, cls in CLASSES.items()
    }
    assert drawn() == real


@pytest.mark.parametrize("name", CLASSES)
def test_each(name: str) -> None:
    """Every error hangs on the root, is exported, documented, and can be made of a message."""
    cls = CLASSES[name]
    assert issubclass(cls, SeriesIOError)
    assert name in errors.__all__
    assert cls.__doc__
    assert "message" in str(cls("message"))


def test_built_in_kinds() -> None:
    """The kinds that the drawing promises for those who catch built-in errors."""
    promised = dict(re.findall(r"(\w+Error) .*\((\w+)\)$", errors.__doc__ or "", re.MULTILINE))
    assert len(promised) >= 8
    for name, kind in promised.items():
        assert issubclass(CLASSES[name], getattr(builtins, kind))
