"""PostScript: pages as Ghostscript renders them by hand, and programs that are up to no good."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seriesio.blob import FileBlob, MemoryBlob
from seriesio.errors import (
    DataError,
    FormatError,
    MissingDependencyError,
    SeriesIOError,
    TooLargeError,
)
from seriesio.formats.image import Image
from seriesio.formats.postscript import PostScriptFormat, ghostscript
from seriesio.offload import Workers

TEXT = ".ps 14\nThe first page\n.bp\nThe second page\n.bp\nThe third page\n"
EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 100 100 172 136
%%EndComments
0.5 setgray 118 109 36 18 rectfill
"""
LOOP = b"%!PS\n{ } loop\n"


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go; nothing is left in it."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


@pytest.fixture
def gs(tool: Callable[[str], str]) -> Iterator[str]:
    """Ghostscript; no process is left running."""
    before = set(children())
    yield tool("gs")
    assert not set(children()) - before


@pytest.fixture
def document(tmp_path: Path, tool: Callable[[str], str]) -> Path:
    """Three pages by groff."""
    path = tmp_path / "groff.ps"
    typeset = [tool("groff"), "-Tps"]
    path.write_bytes(subprocess.run(typeset, input=TEXT.encode(), capture_output=True).stdout)
    return path


def children() -> list[str]:
    """The processes that this one has started, and that are still there."""
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return []
    found: list[str] = []
    for each in tasks.iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            found += (each / "children").read_text().split()
    return found


def read(data: bytes, name: str = "page.ps", memory: int = 1 << 30, **options: Any) -> Image:
    files = {name: MemoryBlob(name, data)}
    return PostScriptFormat().read(name, files, memory=memory, options=options)


def by_hand(gs: str, path: Path, device: str, resolution: int, *more: str) -> list[NDArray[Any]]:
    """The pages of a document as Ghostscript writes them into files, read by Pillow."""
    folder = path.parent / f"{path.name}-{device}"
    folder.mkdir()
    command = [gs, "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={device}", *more]
    output = f"-sOutputFile={folder}/%03d"
    subprocess.run([*command, f"-r{resolution}", output, str(path)], check=True)
    return [np.asarray(PIL.Image.open(page)) for page in sorted(folder.iterdir())]


def saved(tmp_path: Path, data: bytes, name: str = "made.ps") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


# --- pages -----------------------------------------------------------------------------------


def test_pages_are_those_of_ghostscript(gs: str, document: Path) -> None:
    """A typeset document becomes grey slices, each pixel as Ghostscript renders it by itself."""
    size = document.stat().st_size
    files = {"groff.ps": FileBlob("groff.ps", str(document), size)}
    image = PostScriptFormat().read("groff.ps", files, memory=1 << 30, options={})
    expected = by_hand(gs, document, "pgmraw", 150)
    assert image.array.shape == (3, *expected[0].shape)
    assert image.array.dtype == np.uint8
    assert not image.color
    assert image.axes == ()
    np.testing.assert_array_equal(image.array, np.stack(expected))


def test_pages_of_a_pdf(gs: str, document: Path, tool: Callable[[str], str]) -> None:
    """A PDF of the same document is read as well."""
    pdf = document.with_suffix(".pdf")
    subprocess.run([tool("ps2pdf"), str(document), str(pdf)], check=True)
    image = read(pdf.read_bytes(), "groff.pdf", resolution=40)
    np.testing.assert_array_equal(image.array, np.stack(by_hand(gs, pdf, "pgmraw", 40)))


def test_colour_is_found(gs: str, tmp_path: Path) -> None:
    """One red page makes the volume RGB; color=False renders it grey, color=True both in RGB."""
    data = b"%!PS\nshowpage 1 0 0 setrgbcolor 0 0 300 300 rectfill showpage\n"
    path = saved(tmp_path, data)
    colours = np.stack(by_hand(gs, path, "ppmraw", 20))
    auto = read(data, resolution=20)
    assert auto.color
    assert auto.array.shape == colours.shape
    np.testing.assert_array_equal(auto.array, colours)
    np.testing.assert_array_equal(read(data, resolution=20, color=True).array, colours)
    grey = read(data, resolution=20, color=False)
    assert not grey.color
    np.testing.assert_array_equal(grey.array, np.stack(by_hand(gs, path, "pgmraw", 20)))


def test_one_inch_is_as_long_as_it_should_be(gs: str) -> None:
    """A square of an inch has as many pixels as the spacing makes 25.4 mm; pages have no place."""
    image = read(b"%!PS\n0 0 72 72 rectfill showpage\n", dpi=200)
    assert image.affine is None
    assert image.spacing is not None
    black = np.argwhere(image.array[0] < 128)
    rows, columns = black.max(axis=0) - black.min(axis=0) + 1
    assert rows * image.spacing[1] == pytest.approx(25.4, abs=0.13)
    assert columns * image.spacing[2] == pytest.approx(25.4, abs=0.13)
    np.testing.assert_allclose(image.spacing, (1, 0.127, 0.127), atol=1e-12)


def test_an_eps_is_as_large_as_its_bounding_box(gs: str, tmp_path: Path) -> None:
    """An EPS without showpage is one page of the box's size, with the grey where it is drawn."""
    image = read(EPS, "figure.eps", resolution=72)
    expected = np.full((1, 36, 72), 255, np.uint8)
    (page,) = by_hand(gs, saved(tmp_path, EPS), "pgmraw", 72, "-dEPSCrop")
    expected[0, 9:27, 18:54] = page[18, 36]
    assert 120 < expected.min() < 136
    np.testing.assert_array_equal(image.array, expected)


def test_an_eps_with_a_preview(gs: str) -> None:
    """Behind the binary header of DOS only the PostScript is read, not the preview after it."""
    preview = b"II*\0" + bytes(100)
    header = b"\xc5\xd0\xd3\xc6" + struct.pack(
        "<6IH", 30, len(EPS), 0, 0, 30 + len(EPS), 104, 0xFFFF
    )
    image = read(header + EPS + preview, "figure.eps", resolution=72)
    np.testing.assert_array_equal(image.array, read(EPS, "figure.eps", resolution=72).array)


def test_pages_of_several_sizes_are_padded(gs: str) -> None:
    """The smaller page lies in the upper left corner, white around it, and a note says so."""
    pages = "".join(
        f"<< /PageSize [{width} {height}] >> setpagedevice 0 0 {width} {height} rectfill showpage\n"
        for width, height in ((72, 144), (144, 72))
    )
    image = read(b"%!PS\n" + pages.encode(), resolution=36)
    expected = np.full((2, 72, 72), 255, np.uint8)
    expected[0, :, :36] = 0
    expected[1, :36, :] = 0
    np.testing.assert_array_equal(image.array, expected)
    assert any("several sizes" in note for note in image.notes)


# --- programs that are up to no good ---------------------------------------------------------

# Each paints the page black if it gets what it wants.
READING = {
    "a file": "(/etc/passwd) (r) file closefile",
    "a file beside temporary ones": "({victim}) (r) file closefile",
    "a program": "({victim}) run",
    "a library": "({victim}) runlibfile",
    "a directory": "false (/etc/*) {{ pop pop true }} 256 string filenameforall not {{ stop }} if",
    "an environment": "(/proc/self/environ) (r) file closefile",
    "a variable": "systemdict /getenv get (SERIESIO_SECRET) exch exec not {{ stop }} if",
    "a pipe": "(%pipe%cat {victim}) (r) file 9 string readstring not {{ stop }} if pop",
    "a device": "(%os%{victim}) (r) file closefile",
    "a list of what is permitted": "<< /PermitFileReading [(*)] >> setuserparams "
    "({victim}) (r) file closefile",
    "a font": "({victim}) (r) file .loadfont",
    "a descriptor": "(/dev/fd/0) (r) file closefile",
}
WRITING = {
    "a new file": "({folder}/new) (w) file dup (x) writestring closefile",
    "an old file": "({victim}) (w) file closefile",
    "an appended file": "({victim}) (a) file dup (x) writestring closefile",
    "a deleted file": "({victim}) deletefile",
    "a renamed file": "({victim}) ({folder}/new) renamefile",
    "a pipe": "(%pipe%touch {folder}/new) (w) file closefile",
    "a temporary file": "null (w) .tempfile dup (x) writestring closefile pop",
    "a page as a file": "<< /OutputFile ({folder}/new) >> setpagedevice showpage",
    "a page as a pipe": "<< /OutputFile (%pipe%touch {folder}/new) >> setpagedevice showpage",
    "another device": "<< /OutputDevice /pdfwrite /OutputFile ({folder}/new) >> setpagedevice",
    "less safety": "<< /LockSafetyParams false >> setpagedevice "
    "({folder}/new) (w) file dup (x) writestring closefile",
    "standard output": "(/dev/fd/1) (w) file dup (P5 1 1 255 x) writestring closefile stop",
    "a saved state": "save << /OutputFile ({folder}/new) >> setpagedevice showpage restore",
}


@pytest.fixture
def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file among others of the directory for temporary files, and a secret variable."""
    folder = tmp_path / "victims"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("SERIESIO_SECRET", "swordfish")
    return saved(folder, b"(swordfish) pop\n", "victim")


def attack(program: str, victim: Path) -> NDArray[np.uint8] | None:
    """The page that a program leaves behind; None if it was stopped."""
    wish = program.format(victim=victim, folder=victim.parent)
    text = f"%!PS\n{{ {wish} }} stopped not {{ 0 0 9999 9999 rectfill }} if showpage\n"
    try:
        return np.asarray(read(text.encode(), resolution=10, timeout=20).array)
    except DataError:
        return None


@pytest.mark.parametrize("what", READING)
def test_nothing_is_read(gs: str, victim: Path, what: str) -> None:
    """A program that reads files, directories, variables or commands gets none of them."""
    page = attack(READING[what], victim)
    assert page is None or (page == 255).all()


@pytest.mark.parametrize("what", WRITING)
def test_nothing_is_written(gs: str, victim: Path, what: str) -> None:
    """A program that writes, deletes, renames or runs something leaves all as it was."""
    attack(WRITING[what], victim)
    assert [path.name for path in victim.parent.iterdir()] == ["victim"]
    assert victim.read_bytes() == b"(swordfish) pop\n"


def test_the_environment_does_not_loosen_the_cage(
    gs: str, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options that a user has set for Ghostscript are not handed on."""
    monkeypatch.setenv("GS_OPTIONS", "-dNOSAFER")
    page = attack("({victim}) (r) file closefile", victim)
    assert page is None or (page == 255).all()


def pdf(*objects: bytes) -> bytes:
    """A document of objects, of which the first is the catalogue."""
    data, offsets = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    count = len(objects) + 1
    data += b"xref\n0 %d\n0000000000 65535 f \n" % count + table
    start = len(data) - len(table) - len(b"xref\n0 %d\n0000000000 65535 f \n" % count)
    return data + b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (count, start)


def paper(content: bytes, *more: bytes, catalogue: bytes = b"", page: bytes = b"") -> bytes:
    """A PDF of one page, 72 by 36 points; ``more`` are objects from the fifth on."""
    return pdf(
        b"<</Type/Catalog/Pages 2 0 R" + catalogue + b">>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 36]/Contents 4 0 R" + page + b">>",
        content,
        *more,
    )


def stream(data: bytes, told: bytes = b"") -> bytes:
    return b"<</Length %d" % len(data) + told + b">>\nstream\n" + data + b"\nendstream"


BOX = stream(b"0 0 36 36 re f")
FORM = b"/Resources<</XObject<</A 5 0 R>>>>"


def test_scripts_of_a_pdf_are_not_run(gs: str) -> None:
    """JavaScript, programs to be launched and files within are left alone: the page comes out."""
    active = paper(
        BOX,
        catalogue=b"/OpenAction<</S/JavaScript/JS(app.alert\\(1\\))>>"
        b"/Names<</EmbeddedFiles<</Names[(x)<</F(/etc/passwd)/Type/Filespec>>]>>>>",
        page=b"/AA<</O<</S/Launch/F(/bin/sh)>>>>",
    )
    expected = np.full((1, 18, 36), 255, np.uint8)
    expected[:, :, :18] = 0
    np.testing.assert_array_equal(read(active, "x.pdf", dpi=36).array, expected)


def test_a_pdf_reads_no_files(gs: str, victim: Path) -> None:
    """Neither as the content of a page, nor by PostScript within it."""
    outside = b"<</Length 0/F(%s)>>\nstream\n\nendstream" % str(victim).encode()
    with pytest.raises(DataError, match="cannot be rendered"):
        read(paper(outside), "x.pdf")
    program = f"({victim}) (r) file pop 0 0 99 99 rectfill".encode()
    within = stream(program, b"/Type/XObject/Subtype/PS")
    image = read(paper(stream(b"/A Do"), within, page=FORM), "x.pdf", dpi=36)
    assert (image.array == 255).all()


@pytest.mark.parametrize(
    "document",
    [
        pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R]/Count 1>>"),
        paper(
            stream(b"/A Do"),
            stream(b"/A Do", b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]" + FORM),
            page=FORM,
        ),
        paper(BOX, page=b"/UserUnit 99999").replace(b"72 36", b"1e9 1e9"),
    ],
    ids=["pages in pages", "a form in itself", "a page of miles"],
)
def test_endless_documents(gs: str, document: bytes) -> None:
    """A PDF that is its own part, or without bounds, is refused at once."""
    with pytest.raises(DataError):
        read(document, "x.pdf", timeout=10)


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("/f { f f } def f", "execstackoverflow"),
        ("{ 9 dict begin } loop", "dictstackoverflow"),
        ("{ 1 } loop", "stackoverflow"),
        ("<< /PageSize [1000000 1000000] >> setpagedevice", "configurationerror"),
        ("<< /PageSize [-100 0] >> setpagedevice", "configurationerror"),
    ],
)
def test_limits_of_the_language(gs: str, program: str, told: str) -> None:
    """What goes too deep or too far is named, however long a complaint follows."""
    with pytest.raises(DataError, match=f"the error '{told}'"):
        read(f"%!PS\n{program} showpage\n".encode())


async def test_several_at_once(gs: str, document: Path) -> None:
    """Documents side by side give the same pages as one after the other; no process is left."""
    data = document.read_bytes()
    one = (await Workers().run(partial(read, data, dpi=20))).array
    files = [data, LOOP, data, b"%!PS\n/x {\n", data]
    found: dict[int, Any] = {}

    async def render(number: int) -> None:
        try:
            found[number] = await Workers().run(partial(read, files[number], dpi=20, timeout=1))
        except SeriesIOError as error:
            found[number] = error

    async with anyio.create_task_group() as group:
        for number in range(len(files)):
            group.start_soon(render, number)
    assert [type(found[number]) for number in range(5)] == [Image, DataError] * 2 + [Image]
    assert all(np.array_equal(found[number].array, one) for number in (0, 2, 4))


def test_pages_cannot_be_forged(gs: str) -> None:
    """What a program prints does not come in between the pages."""
    forged = b"(%stdout) (w) file (P5\\n9 9\\n255\\n) writestring (P6 1 1 255 abc) print flush"
    image = read(b"%!PS\n" + forged + b" showpage\n", resolution=10)
    assert image.array.shape == read(b"%!PS\nshowpage\n", resolution=10).array.shape


def test_a_loop_is_stopped(gs: str) -> None:
    """A program that does not end is killed when its time is over, and the error says so."""
    begin = time.monotonic()
    with pytest.raises(DataError, match=r"^page\.ps: was not rendered within 0\.3 s"):
        read(LOOP, timeout=0.3)
    assert time.monotonic() - begin < 3


def test_endless_complaints_are_no_harm(gs: str) -> None:
    """A program that prints for ever is killed as well, and what it prints is not kept."""
    with pytest.raises(DataError, match="not rendered within"):
        read(b"%!PS\n{ (swordfish) print } loop\n", timeout=0.3)


def test_endless_pages_are_refused(gs: str) -> None:
    """More pages than allowed end the reading."""
    with pytest.raises(TooLargeError, match="more than 5 pages"):
        read(b"%!PS\n{ showpage } loop\n", resolution=10, pages=5)


def test_all_pages_together_are_bounded(gs: str) -> None:
    """Pages that each fit, but not together, are refused while they come."""
    with pytest.raises(TooLargeError, match="allowed"):
        read(b"%!PS\n{ showpage } loop\n", resolution=20, color=False, memory=200_000)


def test_a_huge_page_is_refused(gs: str) -> None:
    """A page beyond the limit is refused by its size, before it is read."""
    with pytest.raises(TooLargeError):
        read(b"%!PS\n<< /PageSize [9e4 9e4] >> setpagedevice showpage\n", memory=1 << 20)


def test_a_huge_bounding_box_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the bounding box says to be too large is not even rendered."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(TooLargeError, match="would take"):
        read(EPS.replace(b"172 136", b"999999 999999"), "figure.eps")


def test_memory_is_bounded(gs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that hoards memory is stopped by the limit on its process."""
    monkeypatch.setattr(ghostscript, "_MEMORY", 192 << 20)
    with pytest.raises(TooLargeError, match="192 MiB"):
        read(b"%!PS\n/all 9999 array def 0 1 9998 { all exch 60000 string put } for\n")


async def test_a_cancelled_call_ends_the_program(gs: str) -> None:
    """Cancelling the task that waits ends the thread and Ghostscript, long before the timeout."""
    begin = time.monotonic()
    with anyio.move_on_after(0.3) as scope:
        await Workers().run(partial(read, LOOP, timeout=60))
    assert scope.cancelled_caught
    assert time.monotonic() - begin < 3


# --- what is wrong ---------------------------------------------------------------------------


def test_errors_do_not_quote_the_document(gs: str) -> None:
    """The error of the language is named, but no word of the document, which may be a patient's."""
    with pytest.raises(DataError, match="the error 'undefined'") as caught:
        read(b"%!PS\n(Nobody) Nobody^Special showpage\n")
    assert "Nobody" not in str(caught.value)


def test_a_document_without_pages(gs: str) -> None:
    """A program that shows nothing is an error."""
    with pytest.raises(DataError, match="has no pages"):
        read(b"%!PS\n1 1 add pop\n")


def test_a_document_that_was_cut(gs: str, document: Path) -> None:
    """Fewer pages than the document announces: the rest was lost."""
    data = document.read_bytes()
    cut = data[: data.index(b"%%Page: 3 3")]
    with pytest.raises(DataError, match="after 2 of the 3 pages"):
        read(cut, resolution=10)


def test_a_pdf_that_was_cut(document: Path, tool: Callable[[str], str]) -> None:
    """A PDF without its end is refused, though Ghostscript would make do with the rest."""
    pdf = document.with_suffix(".pdf")
    subprocess.run([tool("ps2pdf"), str(document), str(pdf)], check=True)
    with pytest.raises(DataError, match="cut short"):
        read(pdf.read_bytes()[:-100], "groff.pdf")


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 10), (30, 10_000), (2**32 - 1, 2**32 - 1), (30, 0)]
)
def test_a_lying_header_of_dos(offset: int, size: int) -> None:
    """A binary header that points beyond the file is an error, not a crash."""
    with pytest.raises(DataError, match=r"figure\.eps: its header"):
        read(b"\xc5\xd0\xd3\xc6" + struct.pack("<2I", offset, size) + bytes(100), "figure.eps")


def test_without_ghostscript(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Ghostscript is missing, the error says how to get it."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(MissingDependencyError, match="install ghostscript"):
        read(b"%!PS\nshowpage\n")


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.integers(0, len(EPS) - 1), put=st.binary(min_size=1, max_size=6))
def test_mutated_documents(gs: str, place: int, put: bytes) -> None:
    """Whatever the bytes are, there are pages or an error of ours."""
    data = EPS[:place] + put + EPS[place + len(put) :]
    with suppress(SeriesIOError):
        assert read(data, "x.eps", memory=1 << 24, resolution=36, timeout=5).array.ndim >= 3


# --- the contract ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "head", "claimed"),
    [
        ("x", b"%!PS-Adobe-3.0\n", True),
        ("x", b"\x04%!PS-Adobe-3.0\n", True),
        ("x", b"%PDF-1.7\n", True),
        ("x", b"\xc5\xd0\xd3\xc6\x1e\0\0\0", True),
        ("x.PS", b"%!\nshowpage\n", True),
        ("x.txt", b"%!\nshowpage\n", False),
        ("x.ps", b"#!/bin/sh\n", False),
        ("x.ps", b"", False),
    ],
)
def test_what_is_claimed(name: str, head: bytes, claimed: bool) -> None:
    """Bytes decide; the name only where they could be a shell script's or a font's."""
    assert PostScriptFormat().claims(name, head) is claimed


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"colour": True}, TypeError),
        ({"dpi": 100, "resolution": 100}, TypeError),
        ({"resolution": 0}, ValueError),
        ({"resolution": float("nan")}, ValueError),
        ({"resolution": "150"}, ValueError),
        ({"timeout": float("inf")}, ValueError),
        ({"timeout": True}, ValueError),
        ({"pages": 0}, ValueError),
        ({"color": "blue"}, ValueError),
    ],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception]) -> None:
    """An option that does not exist, or is out of range, is refused before anything runs."""
    with pytest.raises(error):
        read(b"%!PS\nshowpage\n", **options)


def test_nothing_is_written_as_postscript() -> None:
    """Writing is refused with the names of formats that do it."""
    image = Image(np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(FormatError, match="png"):
        PostScriptFormat().write(image, "x", options={})


def test_no_companions() -> None:
    """A document is one file."""
    assert not PostScriptFormat().companions("x.ps", b"%!PS")
