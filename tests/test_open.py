"""Opening phantoms of every kind: voxels, dtype, axes, geometry; progress and cancellation."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import pytest
from pydicom.dataset import Dataset

from seriesio import Client, Progress, Series
from seriesio.errors import EncodeError, UnsortableSeriesError
from seriesio.testing import Phantom, phantom

NATIVE = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big": "1.2.840.10008.1.2.2",
}
PACKED = {
    "rle": "1.2.840.10008.1.2.5",
    "lossless": "1.2.840.10008.1.2.4.57",
    "lossless-sv1": "1.2.840.10008.1.2.4.70",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
    "jpeg-2000": "1.2.840.10008.1.2.4.90",
    "htj2k": "1.2.840.10008.1.2.4.201",
}
BASELINE, EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
SMALL = (3, 12, 16)
OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)

MATRIX: dict[str, Mapping[str, Any]] = {
    **{name: {"transfer_syntax": uid} for name, uid in {**NATIVE, **PACKED}.items()},
    "baseline": {"transfer_syntax": BASELINE, "bits_allocated": 8},
    "extended": {"transfer_syntax": EXTENDED},
    **{
        f"{order}-{bits}-{'signed' if signed else 'unsigned'}": {
            "transfer_syntax": NATIVE[order],
            "bits_allocated": bits,
            "bits_stored": stored,
            "signed": signed,
        }
        for order in ("explicit", "big")
        for bits, stored in ((8, 8), (16, 12), (16, 16), (32, 20), (32, 32))
        for signed in (False, True)
    },
    **{
        f"{order}-1-bit{'-frames' if frames else ''}": {
            "transfer_syntax": NATIVE[order],
            "bits_allocated": 1,
            "multiframe": frames,
        }
        for order in ("implicit", "explicit", "big")
        for frames in (False, True)
    },
    **{
        f"{order}-{kind}": {"transfer_syntax": NATIVE[order], "kind": kind}
        for order in ("implicit", "explicit", "big")
        for kind in ("float", "double")
    },
    "monochrome1": {"photometric": "MONOCHROME1"},
    "bare": {"preamble": False, "transfer_syntax": NATIVE["implicit"]},
    **{
        f"{order}-{photometric}-{planar}": {
            "transfer_syntax": uid,
            "photometric": photometric,
            "planar_configuration": planar,
        }
        for order, uid in NATIVE.items()
        for photometric, planar in (
            *(("RGB", 0), ("RGB", 1), ("YBR_FULL", 0), ("YBR_FULL", 1)),
            *(("YBR_FULL_422", 0), ("PALETTE COLOR", 0)),
        )
    },
    "rle-rgb": {"transfer_syntax": PACKED["rle"], "photometric": "RGB"},
    "rle-palette": {"transfer_syntax": PACKED["rle"], "photometric": "PALETTE COLOR"},
    "j2k-rct": {"transfer_syntax": PACKED["jpeg-2000"], "photometric": "YBR_RCT"},
    "baseline-422": {"transfer_syntax": BASELINE, "photometric": "YBR_FULL_422"},
    "multiframe": {"multiframe": True},
    "multiframe-rle": {"multiframe": True, "transfer_syntax": PACKED["rle"]},
    "multiframe-4d": {"shape": (2, *SMALL), "multiframe": True},
    **{
        f"enhanced-{modality}": {"enhanced": True, "shuffle": 3, "modality": modality}
        for modality in ("CT", "MR", "PT")
    },
    "enhanced-big": {"enhanced": True, "shuffle": 4, "transfer_syntax": NATIVE["big"]},
    "enhanced-implicit": {"enhanced": True, "shuffle": 4, "transfer_syntax": NATIVE["implicit"]},
    "enhanced-deflated": {"enhanced": True, "shuffle": 5, "transfer_syntax": NATIVE["deflated"]},
    "enhanced-4d": {"shape": (2, *SMALL), "enhanced": True, "shuffle": 6},
    "enhanced-volumes": {"shape": (2, *SMALL), "enhanced": "per-volume", "shuffle": 7},
    "enhanced-slopes": {"enhanced": True, "modality": "PT", "slope": [0.5, 1.25, 2.0]},
    "ct": {"slope": 1, "intercept": -1024},
    "ct-signed": {"slope": 1, "intercept": -1024, "signed": True},
    "whole-slope": {"slope": 3, "intercept": 7},
    "negative-slope": {"slope": -2, "intercept": 5},
    "pet": {"modality": "PT", "slope": [0.37, 1.91, 2.73], "bits_stored": 16},
    "oblique": {"orientation": OBLIQUE, "shuffle": 1},
    "tilt": {"tilt": 18.5, "shuffle": 2},
    "one-slice": {"shape": (1, 12, 16)},
}  # fmt: skip


def made(name: str) -> Phantom:
    arguments: dict[str, Any] = {"shape": SMALL, **MATRIX[name]}
    return phantom(**arguments)


@pytest.mark.parametrize("name", MATRIX)
async def test_matrix(tmp_path: Path, name: str) -> None:
    """Every kind of pixels and header: voxels, spacing, affine as the phantom was made."""
    expected = made(name)
    series = await Series.open(expected.save(tmp_path))
    assert series.shape == expected.shape
    wanted = expected.array.astype(np.float64)
    if expected.tolerance or "YBR" in str(MATRIX[name].get("photometric")):
        slack = 3 * max(expected.tolerance, 1)  # a lossy step of Cb is 1.8 steps of blue
        assert np.abs(series.array - wanted).max() <= slack
    else:
        assert np.allclose(series.array, wanted, rtol=1e-6, atol=0)
    assert np.allclose(series.affine, expected.affine, atol=1e-4)
    if "tilt" not in name:
        assert series.spacing == pytest.approx(expected.spacing, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "dtype"),
    [
        ({"bits_stored": 12}, "uint16"),
        ({"bits_stored": 12, "intercept": -1024}, "int16"),
        ({"bits_stored": 12, "slope": 2}, "uint16"),
        ({"bits_stored": 12, "slope": 1.5}, "float32"),
        ({"bits_allocated": 8, "intercept": -5, "slope": 0.1}, "float32"),
        ({"bits_allocated": 8, "bits_stored": 7, "intercept": -64}, "int8"),
        ({"bits_allocated": 32, "bits_stored": 32}, "uint32"),
        ({"bits_stored": 12, "signed": True, "intercept": 2048}, "uint16"),
        ({"kind": "float"}, "float32"),
        ({"kind": "double"}, "float64"),
    ],
)
async def test_smallest_dtype(tmp_path: Path, arguments: dict[str, Any], dtype: str) -> None:
    """The smallest integer type, not narrower than the stored one; float32 for fractions."""
    expected = phantom(SMALL, **arguments)
    series = await Series.open(expected.save(tmp_path))
    assert series.dtype == np.dtype(dtype)
    assert np.allclose(series.array, expected.array.astype(np.float64), rtol=1e-6)


@pytest.mark.parametrize(("stored", "dtype"), [(30000, "int16"), (40000, "int32")])
async def test_full_range_with_intercept(tmp_path: Path, stored: int, dtype: str) -> None:
    """16 bits stored less 1024: int16 if all values fit, int32 if one does not."""
    source = phantom(SMALL, bits_stored=16, intercept=-1024)
    pixels = []
    for number, dataset in enumerate(source.datasets()):
        array = np.zeros(SMALL[1:], np.uint16)
        array[1, number] = stored
        dataset.PixelData = array.tobytes()
        pixels.append(array.astype(np.int64) - 1024)
        dataset.save_as(tmp_path / f"{number}.dcm")
    told: list[Progress] = []
    series = await Series.open(tmp_path, progress=told.append)
    assert series.dtype == np.dtype(dtype)
    assert np.array_equal(series.array, np.stack(pixels))
    placed = [progress.done for progress in told if progress.unit == "instances"]
    assert placed == sorted(placed), "the second attempt must not tell less than the first"


@pytest.mark.parametrize("name", ["ct", "pet", "whole-slope", "explicit-RGB-0"])
async def test_stored_values(tmp_path: Path, name: str) -> None:
    """rescale=False gives what stands in the files."""
    expected = made(name)
    series = await Series.open(expected.save(tmp_path), rescale=False)
    assert np.array_equal(series.array, expected.stored)
    assert series.dtype == expected.stored.dtype


@pytest.mark.parametrize("name", ["explicit-PALETTE COLOR-0", "big-YBR_FULL-1"])
async def test_colours_as_stored(tmp_path: Path, name: str) -> None:
    """rescale=False converts no colours either."""
    expected = made(name)
    series = await Series.open(expected.save(tmp_path), rescale=False)
    assert np.array_equal(series.array, expected.stored)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", np.int64, "<i4", ">i4"])
async def test_dtype(tmp_path: Path, dtype: Any) -> None:
    """The dtype that was asked for, in this machine's byte order."""
    expected = made("ct")
    series = await Series.open(expected.save(tmp_path), dtype=dtype)
    assert series.dtype == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(series.array, expected.array)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("ct", "uint16"),
        ("ct", "int8"),
        ("ct", "complex64"),
        ("ct", "no type"),
        ("explicit-float", "int16"),
        ("explicit-PALETTE COLOR-0", "int8"),
        ("explicit-32-unsigned", "float16"),
    ],
)
async def test_dtype_that_cannot_hold_the_values(tmp_path: Path, name: str, dtype: str) -> None:
    """Nothing is cut off or wrapped around in silence."""
    with pytest.raises(EncodeError, match="dtype="):
        await Series.open(made(name).save(tmp_path), dtype=dtype)


FURTHER = ["time", "b", "te", "fa", "triggertime", "ti", "tr"]


# An enhanced object has a nominal delay of its own, not a trigger time.
FORMS = [
    (axis, form)
    for axis in FURTHER
    for form in (False, True)
    if (axis, form) != ("triggertime", True)
]


@pytest.mark.parametrize(("axis", "enhanced"), FORMS)
async def test_further_axis(tmp_path: Path, axis: str, enhanced: bool) -> None:
    """One further axis, chosen automatically or named; its values, ascending."""
    expected = phantom(
        (3, *SMALL), axes=(axis, "slice", "row", "column"), shuffle=5, enhanced=enhanced
    )
    folder = expected.save(tmp_path)
    for order in ("auto", axis):
        series = await Series.open(folder, order)
        assert np.array_equal(series.array, expected.array)
        assert [found.name for found in series.axes] == [axis, "slice", "row", "column"]
        values = series.tags[axis] - (series.tags[axis][0] if axis == "time" else 0)
        assert np.allclose(values, expected.values[axis], rtol=1e-5, atol=1e-4)
        assert series.report.criterion == axis


@pytest.mark.parametrize("axes", [("time", "te"), ("b", "te"), ("te", "fa"), ("time", "fa")])
async def test_two_further_axes(tmp_path: Path, axes: tuple[str, str]) -> None:
    """Two at once, found or named, and in the other order when asked."""
    expected = phantom((2, 3, *SMALL), axes=(*axes, "slice", "row", "column"), shuffle=6)
    folder = expected.save(tmp_path)
    for order in ("auto", ",".join(axes)):
        series = await Series.open(folder, order)
        assert tuple(axis.name for axis in series.axes[:2]) == axes
        assert np.array_equal(series.array, expected.array)
    other = await Series.open(folder, ",".join(reversed(axes)))
    assert np.array_equal(other.array, expected.array.swapaxes(0, 1))


async def test_order_that_does_not_fit(tmp_path: Path) -> None:
    """A criterion that varies not is refused, and the error says what does."""
    folder = phantom((3, *SMALL), axes=("te", "slice", "row", "column")).save(tmp_path)
    with pytest.raises(UnsortableSeriesError, match=r"EchoTime \(3 values\)"):
        await Series.open(folder, "fa")


@pytest.mark.parametrize("order", ["nonsense", "te,te", "none,te"])
async def test_unknown_order(tmp_path: Path, order: str) -> None:
    """A name that is unknown, or twice there, is an error."""
    with pytest.raises(UnsortableSeriesError):
        await Series.open(phantom(SMALL).save(tmp_path), order)


async def test_order_of_arrival(tmp_path: Path) -> None:
    """input_order="none": as the files come, slice by slice."""
    expected = phantom((3, *SMALL))
    series = await Series.open(expected.save(tmp_path), "none")
    assert np.array_equal(series.array, expected.array)
    assert series.axes[0].name == "none"


async def test_modality_lut(tmp_path: Path) -> None:
    """A table of values is applied (PS3.3 C.11.1); unchanged, it is written as it was."""
    source = phantom(SMALL, bits_stored=12, modality="MR")
    table = np.arange(4096, dtype=np.uint16)[::-1] * 3
    for number, dataset in enumerate(source.datasets()):
        item = Dataset()
        item.add_new("LUTDescriptor", "US", [4096, 0, 16])
        item.add_new("LUTData", "OW", table.tobytes())
        item.ModalityLUTType = "OD"
        dataset.ModalityLUTSequence = [item]
        dataset.save_as(tmp_path / f"{number}.dcm")
    series = await Series.open(tmp_path)
    assert series.dtype == np.uint16
    assert np.array_equal(series.array, table[source.stored])
    await series.write(tmp_path / "out")
    before = {path.read_bytes() for path in tmp_path.glob("*.dcm")}
    assert {path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    series.array[0, 0, 0] = 77
    await series.write(tmp_path / "changed")
    again = await Series.open(tmp_path / "changed")
    assert np.array_equal(again.array, series.array)


async def test_progress(tmp_path: Path) -> None:
    """Told in the loop's own thread, never less than before, up to the end."""
    folder = phantom((40, 12, 16), header_elements=5).save(tmp_path)
    told: list[tuple[Progress, int]] = []
    await Series.open(folder, progress=lambda p: told.append((p, threading.get_ident())))
    assert {thread for _, thread in told} == {threading.get_ident()}
    for unit in ("headers", "instances"):
        done = [progress.done for progress, _ in told if progress.unit == unit]
        assert done == sorted(done)
        assert done[-1] == 40
        assert all(progress.total == 40 for progress, _ in told if progress.unit == unit)


async def test_error_in_the_progress_callback(tmp_path: Path) -> None:
    """It ends the opening, and nothing is left behind."""
    folder = phantom(SMALL).save(tmp_path)

    def fail(progress: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Series.open(folder, progress=fail)


@pytest.mark.parametrize("kind", ["directory", "zip"])
async def test_cancelled_at_every_await(tmp_path: Path, kind: str) -> None:
    """Cancelled after 0, 1, 2 … turns of the loop: no thread, file or task is left."""
    source = phantom((12, 12, 16))
    path = source.save(tmp_path / "in") if kind == "directory" else source.save_zip(tmp_path / "z")
    path = path if kind == "directory" else path.rename(tmp_path / "in.zip")
    finished = cancelled = 0
    async with Client() as client:
        for turns in [*range(40), 60, 100, 200, 100_000]:
            series: Series | None = None
            async with anyio.create_task_group() as group:

                async def opening() -> None:
                    nonlocal series
                    series = await client.open(path)
                    group.cancel_scope.cancel()

                group.start_soon(opening)
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            if series is None:
                cancelled += 1
            else:
                finished += 1
                assert np.array_equal(series.array, source.array)
        again = await client.open(path)
    assert np.array_equal(again.array, source.array)
    assert cancelled
    assert finished


async def test_many_at_once(tmp_path: Path) -> None:
    """Eight openings side by side on one client."""
    source = phantom((12, 12, 16))
    folder = source.save(tmp_path)
    found: list[Series] = []
    async with Client() as client, anyio.create_task_group() as group:

        async def one() -> None:
            found.append(await client.open(folder))

        for _ in range(8):
            group.start_soon(one)
    assert len(found) == 8
    assert all(np.array_equal(series.array, source.array) for series in found)
