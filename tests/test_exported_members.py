"""The public surface: sorted, complete, documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from importlib.metadata import version
from types import ModuleType

import pytest

import seriesio
from seriesio import errors, testing

PUBLIC: list[ModuleType] = [seriesio, errors, testing]


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_all(module: ModuleType) -> None:
    """__all__ is sorted, and names all that is public and nothing else."""
    names = list(module.__all__)
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    assert all(hasattr(module, name) for name in names)  # some come only when asked for
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and name not in ("annotations", "TYPE_CHECKING", "import_module")
        and (name in names or not inspect.ismodule(value))
    }
    assert set(names) == public


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_docstrings(module: ModuleType) -> None:
    """Every public name has a docstring, and so have its public methods."""
    undocumented = []
    for name in module.__all__:
        value = getattr(module, name)
        assert value.__doc__, name
        if inspect.isclass(value):
            members = {n: m for n, m in vars(value).items() if not n.startswith("_")}
            undocumented += [
                f"{name}.{n}"
                for n, m in members.items()
                if (callable(m) or isinstance(m, property | classmethod)) and not m.__doc__
            ]
    allowed = {"Series.shape", "Series.dtype", "Series.ndim", "Phantom.shape"}
    allowed |= {"Phantom.transfer_syntax", "Limits.bytes"}
    assert set(undocumented) <= allowed


def test_version() -> None:
    """The version is the package's."""
    assert seriesio.__version__ == version("seriesio")


def test_every_module_names_what_it_exports() -> None:
    """Every module has a docstring and, where it defines anything, an __all__ that is right."""
    for info in pkgutil.walk_packages(seriesio.__path__, "seriesio."):
        module = importlib.import_module(info.name)
        assert module.__doc__ or info.ispkg, info.name
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{info.name}.{name}"


def test_imported_only_when_needed() -> None:
    """``import seriesio`` loads neither the network nor pydicom's machinery."""
    script = "import seriesio, sys; print([m for m in sys.modules if m.count('.') == 0])"
    command = [sys.executable, "-c", script]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(told.stdout))
    assert not loaded & {"pynetdicom", "httpx", "pydicom", "imagecodecs", "PIL", "rich", "aiofiles"}
