"""The documentation: its Python compiles; "Coming from imagedata" runs and prints what it says."""

from __future__ import annotations

import ast
import inspect
import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest

from seriesio import registry
from seriesio.testing import phantom

DOCS = Path(__file__).parents[1] / "docs"
PAGE = "coming-from-imagedata.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXPECTED = re.compile(r"^# ?> (.*)$", re.MULTILINE)

LAST = ("slice", "row", "column")


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of Python in a page, compiled with the page's line numbers."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def compiled(self) -> Any:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        return compile("\n" * self.line + self.text, self.page, "exec", flags=flags)


def blocks(path: Path) -> Iterator[Block]:
    text = path.read_text()
    for found in BLOCK.finditer(text):
        yield Block(path.name, text.count("\n", 0, found.start()) + 1, found[1])


def save(folder: Path, *further: str, shape: tuple[int, ...], **options: Any) -> None:
    phantom(shape, axes=(*further, *LAST), modality="MR", **options).save(folder)


@pytest.fixture
def series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the series that the page speaks of."""
    save(tmp_path / "dicom/volume", shape=(16, 48, 40), spacing=(2, 1.5, 1.5))
    save(tmp_path / "dicom/time", "time", shape=(10, 6, 32, 24))
    save(tmp_path / "dicom/time_te", "time", "te", shape=(4, 3, 6, 32, 24))
    save(tmp_path / "dicom/ti", "ti", shape=(3, 6, 32, 24))
    save(
        *(tmp_path / "dicom/diffusion", "b"),
        shape=(3, 6, 32, 24),
        values={"b": (50.0, 400.0, 800.0)},
    )
    save(tmp_path / "dirA", "time", shape=(3, 4, 16, 16), seed=1)
    save(tmp_path / "dirB", "time", shape=(3, 4, 16, 16), seed=2)
    save(tmp_path / "in_dir", shape=(6, 32, 24))
    for number, name, slices in ((3, "localizer", 3), (4, "T1", 8)):
        options = {"seed": number, "series_number": number, "series_description": name}
        save(tmp_path / "study" / name, shape=(slices, 32, 32), **options)
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_coming_from_imagedata(series: Path, tool: Any) -> None:
    """Every block of the page runs after those before it, and prints what stands behind `# >`."""
    tool("gs")
    namespace: dict[str, Any] = {}
    for block in blocks(DOCS / PAGE):
        with redirect_stdout(io.StringIO()) as printed:
            pending = eval(block.compiled(), namespace)
            if inspect.iscoroutine(pending):
                await pending
        assert printed.getvalue().splitlines() == EXPECTED.findall(block.text), str(block)
    written = {path.name: pydicom.dcmread(path) for path in (series / "dicomResult").iterdir()}
    assert len(written) == 6
    assert {each.SeriesNumber for each in written.values()} == {1004}


@pytest.mark.parametrize("page", ["arrays.md", "header.md", "sorting.md", "templates.md"])
async def test_pages_that_run(page: str, series: Path) -> None:
    """Blocks from the first import on run in turn, and print what stands behind `# >`."""
    for package in ("xarray", "dask.array", "nibabel", "dicomanonymizer"):
        pytest.importorskip(package)
    namespace: dict[str, Any] = {}
    for block in blocks(DOCS / page):
        if not namespace and "import" not in block.text:
            continue
        with redirect_stdout(io.StringIO()) as printed:
            pending = eval(block.compiled(), namespace)
            if inspect.iscoroutine(pending):
                await pending
        assert printed.getvalue().splitlines() == EXPECTED.findall(block.text), str(block)


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_python_in_pages_is_valid(page: str) -> None:
    """Every block of Python compiles; top-level await is what a notebook has."""
    for block in blocks(DOCS / page):
        block.compiled()


def rows(page: str) -> dict[str, str]:
    """The lines of the tables of a page, joined by the name in their first column."""
    found: dict[str, str] = {}
    for name, rest in re.findall(r"^\| `(\w+)` \|(.*)$", (DOCS / page).read_text(), re.MULTILINE):
        found[name] = found.get(name, "") + rest
    return found


@pytest.mark.parametrize("name", [*registry.guests()])
def test_every_guest_is_told_of(name: str) -> None:
    """The tables of formats name each guest, its extensions and its options."""
    guest, told = registry.guest_for(name), rows("formats.md")[name]
    kinds = ("extensions", "read_options", "write_options")
    words = [word for kind in kinds for word in getattr(guest, kind)]
    assert not [word for word in words if not re.search(rf"`{re.escape(word)}[=`]", told)]


def test_every_page_is_in_the_index() -> None:
    """No page is written that nobody finds."""
    index = (DOCS / "index.md").read_text().splitlines()
    pages = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    assert pages <= set(index)
