"""Guest formats behind the doors of Series: found by bytes, chosen, told of, written.

The format is a hand-made one of another package: a line of text, then voxels; a second file may
hold a note. So nothing here depends on what the built-in formats do.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seriesio import Client, Limits, Series, registry
from seriesio.blob import Blob, MemoryBlob, read_all
from seriesio.errors import (
    AmbiguousSeriesError,
    DataError,
    EncodeError,
    FormatError,
    HeaderError,
    NotFoundError,
    TargetExistsError,
    TooLargeError,
)
from seriesio.formats.guest.dtype import converted
from seriesio.formats.image import Image
from seriesio.protocols import Guest
from seriesio.testing import phantom

VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
AFFINE = np.array([[0, 0, -3.0, 5], [2, 0, 0, 6], [0, -1.5, 0, 7], [0, 0, 0, 1]])
SPACING = (3.0, 1.5, 2.0)


class Toy:
    """``TOY <dtype> <slices> <rows> <columns>``, a newline, the voxels; beside it ``.note``."""

    extensions = (".toy", ".toy.x")
    read_options = frozenset({"scale"})
    write_options = frozenset({"shout"})

    def claims(self, name: str, head: bytes) -> bool:
        return head.startswith(b"TOY ")

    def companions(self, name: str, head: bytes) -> Sequence[str]:
        return [name + ".note", "../secret.note", "/etc/hostname"]

    def read(
        self, name: str, files: Mapping[str, Blob], *, memory: int, options: Mapping[str, Any]
    ) -> Image:
        line, _, data = bytes(read_all(files[name])).partition(b"\n")
        _, dtype, *lengths = line.decode().split()
        if lengths == ["broken"]:
            raise DataError(f"{name}: broken")
        array = np.frombuffer(data, dtype).reshape(tuple(map(int, lengths)))
        notes = tuple(bytes(read_all(blob)).decode() for n, blob in files.items() if n != name)
        known = {"RepetitionTime": 2000.0, "NotAnAttribute": 1}
        return Image(
            array * array.dtype.type(options.get("scale", 1)),
            affine=AFFINE,
            attributes=known,
            notes=notes,
        )

    def write(self, image: Image, name: str, *, options: Mapping[str, Any]) -> Iterable[Blob]:
        if image.array.ndim > 3:
            raise EncodeError("a toy holds three dimensions")
        line = f"TOY {image.array.dtype.str} {' '.join(map(str, image.array.shape))}\n"
        extension = options.get("extension", ".toy")
        yield MemoryBlob(name + extension, line.encode() + image.array.tobytes())
        if options.get("shout"):
            yield MemoryBlob(name + extension + ".note", b"HEY")


class Other:
    """Another format, which says nothing of its options and extensions."""

    companions, read, write = Toy.companions, Toy.read, Toy.write

    def claims(self, name: str, head: bytes) -> bool:
        return head.startswith(b"OTHER ")


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two formats of another package beside DICOM, and no built-in guests."""
    kinds = {"toy": Toy, "other": Other, "home": object}

    def found(group: str, name: str | None = None) -> EntryPoints:
        if group != "seriesio.formats":
            return EntryPoints()
        return EntryPoints(
            EntryPoint(key, f"{__name__}:{kind.__name__}", group)
            for key, kind in kinds.items()
            if name in (None, key)
        )

    monkeypatch.setattr(registry, "entry_points", found)
    monkeypatch.setattr(EntryPoint, "load", lambda entry: kinds[entry.name])
    monkeypatch.setattr(registry, "_GUESTS", {})


def toy(array: NDArray[Any] = VOXELS, magic: str = "TOY") -> bytes:
    line = f"{magic} {array.dtype.str} {' '.join(map(str, array.shape))}\n"
    return line.encode() + array.tobytes()


def test_entry_points_are_guests() -> None:
    """What claims files is a guest, whatever else an entry point may be."""
    assert set(registry.guests()) == {"toy", "other"}
    guest: Guest = Toy()
    assert registry.is_guest(guest)
    with pytest.raises(FormatError, match="not one of single files"):
        registry.guest_for("dicom")
    with pytest.raises(FormatError, match="'nothing' is unknown"):
        registry.guest_for("nothing")


async def test_one_file(tmp_path: Path) -> None:
    """A file without a DICOM header is a series with the place that it says."""
    path = tmp_path / "a.bin"
    path.write_bytes(toy())
    series = await Series.open(path)
    np.testing.assert_array_equal(series.array, VOXELS)
    np.testing.assert_allclose(series.affine, AFFINE)
    assert series.spacing == SPACING
    assert [axis.name for axis in series.axes] == ["slice", "row", "column"]
    assert series.repetitionTime == 2000.0
    assert series.report.skipped == {}
    assert series.report.used == 1
    assert "toy" in series.report.reason


async def test_other_attributes(tmp_path: Path) -> None:
    """What the format does not tell is not there, and cannot be set without a template."""
    (tmp_path / "a").write_bytes(toy())
    series = await Series.open(tmp_path / "a")
    with pytest.raises(HeaderError, match="template="):
        series.patientName = "X"
    with pytest.raises(AttributeError):
        _ = series.patientName


async def test_it_is_a_series(tmp_path: Path) -> None:
    """Slicing and arithmetic keep the place; pickling and copying work."""
    import copy
    import pickle

    (tmp_path / "a").write_bytes(toy())
    series = await Series.open(tmp_path / "a")
    part = series[1:, :, ::2]
    assert isinstance(part, Series)
    assert np.shares_memory(part.array, series.array)
    np.testing.assert_allclose(part.affine[:3, 3], AFFINE[:3, 2] + AFFINE[:3, 3])
    double = series * 2
    assert isinstance(double, Series)
    np.testing.assert_array_equal(double.array, VOXELS * 2)
    for again in (pickle.loads(pickle.dumps(series)), copy.deepcopy(series)):
        np.testing.assert_array_equal(again.array, VOXELS)
        assert again.repetitionTime == 2000.0


async def test_companions(tmp_path: Path) -> None:
    """A companion beside the file is read, from a directory, alone, and in zips; no other file."""
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "a.toy").write_bytes(toy())
    (folder / "a.toy.note").write_bytes(b"listen")
    (tmp_path / "secret.note").write_bytes(b"secret")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"in/{path.name}")
    for url in (folder, folder / "a.toy", tmp_path / "a.zip"):
        series = await Series.open(url)
        assert series.report.notes == ("listen",)
        assert series.report.skipped == {}


async def test_companions_beside_the_selection(tmp_path: Path) -> None:
    """Who asks for one member of a zip gets what belongs to it; from its own directory only."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in/a.toy", toy())
        archive.writestr("in/a.toy.note", b"listen")
        archive.writestr("in/b.toy", toy(VOXELS + 1))
        archive.writestr("a.toy.note", b"another one")
    for selection in ("in/a.toy", "in/a*", "*/a.toy"):
        series = await Series.open(f"{tmp_path}/a.zip?{selection}")
        np.testing.assert_array_equal(series.array, VOXELS)
        assert series.report.notes == ("listen",)
    assert (await Series.open(f"{tmp_path}/a.zip?in/b.toy")).report.notes == ()


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4", "f8", "u1", "c8"])
async def test_dtype(tmp_path: Path, dtype: str) -> None:
    """Values come in the type that is asked for, if it holds them."""
    (tmp_path / "a").write_bytes(toy())
    series = await Series.open(tmp_path / "a", dtype=dtype)
    assert series.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(series.array, VOXELS)


async def test_dtype_that_does_not_hold(tmp_path: Path) -> None:
    """Values never wrap around, and two arrays are not made beyond the limit of memory."""
    (tmp_path / "a").write_bytes(toy(VOXELS - 20))
    (tmp_path / "f").write_bytes(toy(np.full((2, 3, 4), np.nan, np.float32)))
    for name, dtype in (("a", "u1"), ("a", "u2"), ("f", "i2"), ("f", "i4"), ("a", "S2")):
        with pytest.raises(EncodeError, match=f"^{name}: dtype="):
            await Series.open(tmp_path / name, dtype=dtype)
    async with Client(limits=Limits(memory=3 * VOXELS.nbytes - 1)) as client:
        assert (await client.open(tmp_path / "a", dtype="f2")).dtype == np.float16
        with pytest.raises(TooLargeError, match="while it is converted"):
            await client.open(tmp_path / "a", dtype="f4")


def test_dtype_in_place() -> None:
    """Values as wide as those asked for are converted where they are; no second array is made."""
    array = np.arange(3 << 20, dtype=np.int32).reshape(3, 1 << 10, 1 << 10)
    found = converted(array, np.float32, "a", memory=0)
    assert np.shares_memory(found, array)
    np.testing.assert_array_equal(found.reshape(-1), np.arange(3 << 20, dtype=np.float32))
    turned = np.arange(24, dtype=np.int16).reshape(2, 3, 4).T
    np.testing.assert_array_equal(converted(turned, np.uint16, "a", memory=1000), turned)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
async def test_in_zips(tmp_path: Path, compression: int) -> None:
    """Members of zips are chosen by their bytes as files are."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", compression) as archive:
        archive.writestr("x/a.dcm", toy())
        archive.writestr("x/readme.txt", "nothing")
    series = await Series.open(tmp_path / "a.zip")
    np.testing.assert_array_equal(series.array, VOXELS)
    assert series.report.skipped == {"not DICOM": 1}


async def test_several(tmp_path: Path) -> None:
    """Several files are several series: listed by name, picked by name, opened one by one."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.toy").write_bytes(toy())
    (tmp_path / "sub" / "b.toy").write_bytes(toy(VOXELS + 1))
    with pytest.raises(AmbiguousSeriesError, match=r"a\.toy \(toy\)\s+sub/b\.toy \(toy\)") as told:
        await Series.open(tmp_path)
    assert [series.series_description for series in told.value.series] == ["a.toy", "sub/b.toy"]
    for name in ("b.toy", "sub/b.toy"):
        series = await Series.open(tmp_path, select={"name": name})
        np.testing.assert_array_equal(series.array, VOXELS + 1)
        assert series.report.skipped == {"toy": 1}
    with pytest.raises(NotFoundError, match=r"there are:\s+a\.toy"):
        await Series.open(tmp_path, select={"name": "c.toy"})
    with pytest.raises(NotFoundError, match=r"there are:\s+a\.toy"):
        await Series.open(tmp_path, select={"SeriesNumber": 1})
    sums = [int(series.array.sum()) async for series in Series.open_all(tmp_path)]
    assert sums == [int(VOXELS.sum()), int(VOXELS.sum()) + VOXELS.size]
    async with Client() as client:
        listed, report = await client.summarize(tmp_path)
    assert [(series.series_description, series.modality) for series in listed] == [
        ("a.toy", "toy"),
        ("sub/b.toy", "toy"),
    ]
    assert report.skipped == {"toy": 2}


async def test_beside_dicom(tmp_path: Path) -> None:
    """DICOM images are what opens; guests beside them are counted, and open when asked for."""
    made = phantom((3, 8, 8))
    made.save(tmp_path)
    (tmp_path / "z.toy").write_bytes(toy())
    (tmp_path / "z.toy.note").write_bytes(b"note")
    (tmp_path / "readme").write_bytes(b"text")
    series = await Series.open(tmp_path)
    np.testing.assert_array_equal(series.array, made.array)
    assert series.report.skipped == {"toy": 1, "not DICOM": 1}
    assert series.report.skipped_names["toy"] == ("z.toy",)
    options: Mapping[str, Any]
    for options in ({"format": "toy"}, {"select": {"name": "z.toy"}}):
        guest = await Series.open(tmp_path, **options)
        np.testing.assert_array_equal(guest.array, VOXELS)
    home = await Series.open(tmp_path, format="dicom")
    assert home.report.skipped == {"not DICOM": 3}
    with pytest.raises(FormatError, match="no readable image of format other"):
        await Series.open(tmp_path, format="other")


async def test_damaged(tmp_path: Path) -> None:
    """A damaged file is an error of ours that names it; nothing else is tried."""
    (tmp_path / "a").write_bytes(b"TOY <i2 broken\n")
    with pytest.raises(DataError, match="a: broken"):
        await Series.open(tmp_path)
    (tmp_path / "a").write_bytes(toy(VOXELS[0]))
    with pytest.raises(DataError, match=r"a: an array of shape \(3, 4\) is no volume"):
        await Series.open(tmp_path)


async def test_damaged_dicom_first(tmp_path: Path) -> None:
    """Damaged DICOM beside a guest is told, unless the guest was asked for."""
    whole = next(iter(phantom((1, 8, 8)).files().values()))
    (tmp_path / "a.dcm").write_bytes(whole[:500])
    (tmp_path / "b.toy").write_bytes(toy())
    with pytest.raises(DataError, match=r"a\.dcm"):
        await Series.open(tmp_path)
    assert (await Series.open(tmp_path, format="toy")).shape == VOXELS.shape
    assert (await Series.open(tmp_path, on_incomplete="warn")).shape == VOXELS.shape


async def test_options(tmp_path: Path) -> None:
    """A guest gets its own options; what nobody takes is a TypeError that says what is taken."""
    (tmp_path / "a").write_bytes(toy())
    (tmp_path / "b").write_bytes(toy(magic="OTHER"))
    phantom((2, 8, 8)).save(tmp_path / "c")
    np.testing.assert_array_equal((await Series.open(tmp_path / "a", scale=3)).array, VOXELS * 3)
    assert (await Series.open(tmp_path / "a", dtype="float32")).dtype == np.float32
    with pytest.raises(TypeError, match=r"format toy takes no option magic .*options are scale"):
        await Series.open(tmp_path / "a", magic=1)
    assert (await Series.open(tmp_path / "b", magic=1)).shape == VOXELS.shape  # it judges itself
    with pytest.raises(TypeError, match="a DICOM series takes no option scale"):
        await Series.open(tmp_path / "c", scale=3)
    with pytest.raises(TypeError, match="format toy takes no option password"):
        await Series.open(tmp_path / "a", password="x")


async def test_write(tmp_path: Path) -> None:
    """A DICOM series becomes a file named after number and description, nothing of the patient."""
    made = phantom((3, 8, 6), series_number=7, series_description="T1 / axial*")
    series = await Series.open(made.save(tmp_path / "in"))
    receipt = await series.write(tmp_path / "out", formats=["toy"], shout=True)
    assert receipt.names == ("7_T1_axial.toy", "7_T1_axial.toy.note")
    again = await Series.open(tmp_path / "out")
    np.testing.assert_array_equal(again.array, made.array)
    with pytest.raises(TargetExistsError):
        await series.write(tmp_path / "out", formats=["toy"])
    await series.write(tmp_path / "out", formats="toy", overwrite=True)
    assert series.seriesInstanceUID == made.series_uid  # nothing was handed out


async def test_write_names(tmp_path: Path) -> None:
    """Targets with the format's extension are files; a name may be given; zips take both."""
    series = Series.from_array(VOXELS, affine=AFFINE)
    receipt = await series.write(tmp_path / "new" / "b.toy.x")
    assert receipt.names == ("b.toy.x",)
    assert (tmp_path / "new" / "b.toy.x").read_bytes() == toy()
    await series.write(tmp_path / "new", formats=["toy"])
    assert (tmp_path / "new" / "series.toy").exists()
    await series.write(tmp_path / "new", formats=["toy"], name="own")
    assert (tmp_path / "new" / "own.toy").exists()
    for name in ("../x", "", 3):
        with pytest.raises(ValueError, match="name="):
            await series.write(tmp_path / "new", formats=["toy"], name=name)
    await series.write(f"{tmp_path}/a.zip?deep/c.toy", compression="stored")
    await series.write(tmp_path / "a.zip", formats=["toy"])
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["deep/c.toy", "series.toy"]
        assert archive.read("deep/c.toy") == toy()
    (tmp_path / "dir.toy").mkdir()
    receipt = await series.write(tmp_path / "dir.toy", formats=["toy"])
    assert receipt.names == ("series.toy",)


async def test_write_errors(tmp_path: Path) -> None:
    """What cannot be written says why, and leaves nothing behind."""
    series = Series.from_array(VOXELS, affine=AFFINE)
    with pytest.raises(HeaderError, match="template= gives it one"):
        await series.write(tmp_path / "new")
    with pytest.raises(TypeError, match="format toy takes no option loud"):
        await series.write(tmp_path / "new", formats=["toy"], loud=True)
    with pytest.raises(FormatError, match="in one format, not in 2"):
        await series.write(tmp_path / "new", formats=["toy", "dicom"])
    with pytest.raises(EncodeError, match="three dimensions"):
        await Series.from_array(np.zeros((2, 2, 3, 4))).write(tmp_path / "new", formats=["toy"])
    assert not (tmp_path / "new").exists()


async def test_write_uneven(tmp_path: Path) -> None:
    """Slices that an affine misplaces are refused, unless that is accepted."""
    made = phantom((4, 8, 6))
    datasets = made.datasets()
    datasets[3].ImagePositionPatient[2] += 1.0
    (tmp_path / "in").mkdir()
    for number, dataset in enumerate(datasets):
        dataset.save_as(tmp_path / "in" / f"{number}.dcm")
    series = await Series.open(tmp_path / "in")
    with pytest.raises(EncodeError, match="uneven slices"):
        await series.write(tmp_path / "out", formats=["toy"])
    await series.write(tmp_path / "out", formats=["toy"], accept_uneven_slices=True)
    assert (tmp_path / "out" / "1_phantom.toy").exists()


async def test_an_order_that_was_not_used_is_told(tmp_path: Path) -> None:
    """``input_order=`` sorts instances; of a file that has its axes itself, the report says so."""
    (tmp_path / "a").write_bytes(toy())
    series = await Series.open(tmp_path / "a", "b")
    assert any("input_order= was not used" in note for note in series.report.notes)
    plain = await Series.open(tmp_path / "a")
    assert not any("input_order" in note for note in plain.report.notes)


async def test_select_is_a_mapping(tmp_path: Path) -> None:
    """A text is no mapping, and the error says what is wanted."""
    phantom((2, 8, 8)).save(tmp_path)
    with pytest.raises(HeaderError, match="select= maps attributes to values, and is no str"):
        await Series.open(tmp_path, select="SeriesNumber=1")  # type: ignore[arg-type]
