"""The rows of the table: the work, who does it, and what must be reached."""

from __future__ import annotations

import zipfile
from collections.abc import Awaitable, Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from . import archive, checks, nifti, ours, peers, planning, xnat
from .child import IMPORTS, import_seconds, in_child, loaded_early
from .data import Case
from .measure import Contender, Figures, constant, timed, timed_await
from .overhead import overheads, small_series
from .row import OURS, Limit, Row, Stage

__all__ = ["OURS", "ROWS", "Limit", "Row", "Stage"]


def _reader(name: str, work: Callable[[], Any], expected: Any) -> Contender:
    return Contender(name, timed(work), lambda: checks.same_voxels(name, work(), expected))


def _opening(case: Case) -> Contender:
    def check() -> None:
        checks.same_voxels(OURS, ours.voxels(ours.open_now(case.path)), case.values)

    return Contender(OURS, timed_await(ours.opener(case.path)), check)


def _imagedata(case: Case) -> Contender:
    return _reader("imagedata", partial(peers.imagedata_open, case.path), case.values)


def _directory(stage: Stage) -> list[Contender]:
    case = stage.corpus.ct()
    bare = peers.Bare(case.files(), stage.threads)
    simpleitk = partial(peers.simpleitk_open, case.path)
    return [
        _opening(case),
        Contender("bare preadv", timed(bare), lambda: checks.same_bytes(bare(), case.files())),
        _reader("dicomsdl", partial(peers.dicomsdl_stack, case.path), case.stored),
        _reader("dicomsdl, rescaled", partial(peers.dicomsdl_values, case.path), case.values),
        _imagedata(case),
        Contender(
            "SimpleITK",
            timed(simpleitk),
            lambda: checks.same_voxels(
                "SimpleITK", peers.simpleitk_array(simpleitk()), case.values
            ),
        ),
    ]


def _dynamic(stage: Stage) -> list[Contender]:
    case = stage.corpus.dynamic()
    return [
        _opening(case),
        _reader("dicomsdl", partial(peers.dicomsdl_4d, case.path), case.stored),
        _imagedata(case),
    ]


def _deflated(stage: Stage) -> list[Contender]:
    case = stage.corpus.zipped(zipfile.ZIP_DEFLATED)
    inflate = peers.inflate(case.path, stage.threads)
    return [
        _opening(case),
        Contender("zlib", timed(inflate), lambda: checks.same_members(case.path, peers.inflated)),
        _imagedata(case),
    ]


def _stored(stage: Stage) -> list[Contender]:
    directory = _opening(stage.corpus.ct())
    return [
        _opening(stage.corpus.zipped(zipfile.ZIP_STORED)),
        Contender("our own directory", directory.run, directory.check),
    ]


def _codec(codec: str, stage: Stage) -> list[Contender]:
    case = stage.corpus.compressed(codec)
    return [
        _opening(case),
        _reader("pydicom", partial(peers.pydicom_stack, case.path), case.stored),
    ]


def _our_writing(
    stage: Stage,
    case: Case,
    check: Callable[[Path], None],
    write: Callable[[Any, Path], Awaitable[None]] = ours.write,
    suffix: str = "",
) -> Contender:
    series = cache(partial(ours.open_now, case.path))

    async def written(target: Path) -> None:
        await write(series(), target)

    def checked() -> None:
        series()  # opened before anything is timed, and outside of any loop
        stage.scratch.checked_await(written, check, suffix)()

    return Contender(OURS, stage.scratch.timed_await(written, suffix), checked)


def _copying(stage: Stage, case: Case) -> Contender:
    return Contender("copying", stage.scratch.timed(partial(peers.copy_files, case.files())))


def _imagedata_writing(stage: Stage, case: Case, suffix: str = "") -> Contender:
    series = cache(partial(peers.imagedata_open, case.path))

    def write(target: Path) -> None:
        peers.imagedata_write(series(), target)

    check = stage.scratch.checked(write, partial(checks.about_same_values, case.values), suffix)
    return Contender("imagedata", stage.scratch.timed(write, suffix), check)


def _write(stage: Stage) -> list[Contender]:
    case = stage.corpus.ct()
    check = partial(checks.same_files, case.files())
    return [_our_writing(stage, case, check), _copying(stage, case)]


def _write_changed(stage: Stage) -> list[Contender]:
    case = stage.corpus.ct()
    check = partial(checks.changed_files, case.values)
    return [
        _our_writing(stage, case, check, ours.write_changed),
        _copying(stage, case),
        _imagedata_writing(stage, case),
    ]


def _write_zip(stage: Stage) -> list[Contender]:
    case = stage.corpus.ct()
    check = partial(checks.same_files, case.files())
    zipping = partial(peers.zipfile_write, case.files())
    return [
        _our_writing(stage, case, check, suffix=".zip"),
        _imagedata_writing(stage, case, ".zip"),
        Contender("zipfile", stage.scratch.timed(zipping, ".zip")),
    ]


def _memory(stage: Stage) -> list[Contender]:
    case = stage.corpus.ct()
    needed = float(case.values.nbytes + case.header_bytes())

    def child(name: str) -> Contender:
        return Contender(name, lambda: in_child("memory", name, [case.path]))

    return [
        child(OURS),
        constant("volume + headers", {"peak": needed}),
        *(child(name) for name in IMPORTS if name != OURS),
    ]


def _import(stage: Stage) -> list[Contender]:
    def importing(name: str) -> Contender:
        work = partial(import_seconds, name)
        return Contender(name, work, lambda: np.isfinite(work()["time"]))  # compiles, too

    return [importing(OURS), importing("imagedata")]


def _lazy(stage: Stage) -> list[Contender]:
    return [Contender(OURS, loaded_early), constant("none", {"modules": 0.0})]


def _stall(stage: Stage) -> list[Contender]:
    paths: list[Path] = [case.path for case in stage.corpus.copies()]

    def child(name: str) -> Contender:
        return Contender(name, lambda: in_child("stall", name, paths))

    return [
        child(OURS),
        constant("bound", {"p99": 0.005, "max": 0.030}),
        child("imagedata"),
    ]


def _overhead(stage: Stage) -> list[Contender]:
    series = cache(partial(small_series, stage.corpus.ct().path))

    def most() -> Figures:
        return {"time": max(overheads(series()).values())}

    return [Contender(OURS, most), constant("bound", {"time": 20e-6})]


def _planning(stage: Stage) -> list[Contender]:
    table = cache(partial(planning.headers, 100, 100))

    def planned() -> Figures:
        return {"time": planning.plan_seconds(table())}

    return [Contender(OURS, planned), constant("bound", {"time": 0.5})]


def _growth(stage: Stage) -> list[Contender]:
    """A million instances, and the way there."""

    def each(count: int) -> Callable[[], Figures]:
        table = cache(partial(planning.headers, count // 100, 100))
        return lambda: {"time": planning.plan_seconds(table()) / count / np.log2(count)}

    smaller = [Contender(f"{count:,} of them", each(count)) for count in (1000, 10_000, 100_000)]
    return [Contender(OURS, each(1_000_000)), *smaller]


_IMAGEDATA_SIZE = Limit("imagedata", 1.1, "≤ 1.1 × the size", "size")

ROWS: tuple[Row, ...] = (
    Row(
        "directory",
        "directory, CT",
        _directory,
        (
            Limit("bare preadv", 2.0, "≤ 2.0 ×"),
            Limit("bare preadv", 1.5, "aim: 1.5 ×", aim=True),
            Limit("dicomsdl", 0.6, "≤ 0.6 ×"),
            Limit("imagedata", 1 / 10, "≤ 1/10"),
            Limit("SimpleITK", 1 / 8, "≤ 1/8"),
        ),
    ),
    Row(
        "directory-4d",
        "directory, 4D MR",
        _dynamic,
        (Limit("dicomsdl", 1.2, "≤ 1.2 ×"), Limit("imagedata", 1 / 8, "≤ 1/8")),
    ),
    Row(
        "zip-deflated",
        "deflated zip, without `fast`",
        _deflated,
        (Limit("zlib", 1.2, "≤ 1.2 ×"), Limit("imagedata", 1 / 3, "≤ 1/3")),
        plain=True,
    ),
    Row(
        "zip-deflated-fast",
        "deflated zip, with `fast`",
        _deflated,
        (Limit("zlib", 1.0, "≤ 1.0 ×"), Limit("imagedata", 1 / 3, "≤ 1/3")),
    ),
    Row("zip-stored", "stored zip", _stored, (Limit("our own directory", 1.3, "≤ 1.3 ×"),)),
    *(
        Row(f"codec-{codec}", title, partial(_codec, codec), (Limit("pydicom", 0.6, "≤ 0.6 ×"),))
        for codec, title in (
            ("jpegls", "directory, JPEG-LS"),
            ("jpeg2000", "directory, JPEG 2000"),
            ("rle", "directory, RLE"),
        )
    ),
    Row("write", "write it to a directory", _write, (Limit("copying", 2.0, "≤ 2 ×"),)),
    Row(
        "write-changed",
        "write it renumbered",
        _write_changed,
        (Limit("copying", 3.0, "≤ 3 ×"), Limit("imagedata", 1 / 6, "≤ 1/6")),
    ),
    Row(
        "write-zip",
        "write it to a deflated zip",
        _write_zip,
        (
            Limit("imagedata", 0.5, "≤ 1/2"),
            _IMAGEDATA_SIZE,
            Limit("zipfile", 1.1, "≤ 1.1 × the size", "size"),
        ),
    ),
    Row(
        "nifti-read",
        "uncompressed NIfTI",
        nifti.reading,
        (Limit("bytes into an array", 1.2, "≤ 1.2 ×"),),
    ),
    Row("nifti-write", "write it as NIfTI", nifti.writing, (Limit("nibabel", 1.2, "≤ 1.2 ×"),)),
    Row(
        "memory",
        "peak memory of opening the CT",
        _memory,
        (Limit("volume + headers", 1.25, "≤ 1.25 ×", "peak"),),
    ),
    Row("import", "import", _import, (Limit("imagedata", 1 / 5, "≤ 1/5"),)),
    Row("import-lazy", "loaded too early", _lazy, (Limit("none", 1.0, "none", "modules"),)),
    Row(
        "stall",
        "eight directories at once: stall of the event loop",
        _stall,
        (Limit("bound", 1.0, "p99 ≤ 5 ms", "p99"), Limit("bound", 1.0, "max ≤ 30 ms", "max")),
    ),
    Row(
        "overhead",
        "the most that indexing, arithmetic or an attribute adds to numpy",
        _overhead,
        (Limit("bound", 1.0, "≤ 20 µs"),),
    ),
    Row(
        "planning",
        "planning 10,000 instances, above the scan",
        _planning,
        (Limit("bound", 1.0, "≤ 0.5 s"),),
    ),
    Row(
        "planning-growth",
        "planning 1,000,000 instances: time / (n log₂ n)",
        _growth,
        (Limit("10,000 of them", 2.0, "no worse than n log n: ≤ 2 ×"),),
    ),
    *archive.ROWS,
    *xnat.ROWS,
)
