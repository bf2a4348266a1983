"""MATLAB: as scipy, h5py and imagedata read and write it; no code and no bomb gets through."""

from __future__ import annotations

import io
import struct
import zlib
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seriesio.blob import BlobReader, MemoryBlob, read_all, read_at
from seriesio.dicom.sorting import Axis
from seriesio.errors import DataError, EncodeError, SeriesIOError, TooLargeError
from seriesio.formats.image import Image
from seriesio.formats.matlab import MatlabFormat

from .guest_files import MEMORY, TYPES, voxels

h5py: Any = import_module("h5py")
scipy_io: Any = import_module("scipy.io")

FORMAT = MatlabFormat()
CLASSES = {"f4": "single", "f8": "double"}


def matrix(array: NDArray[Any]) -> NDArray[Any]:
    """(rows, columns, slices, …) the same values, as MATLAB has them."""
    return array.transpose(*(array.ndim - 2, array.ndim - 1), *range(array.ndim - 3, -1, -1))


def saved(**variables: Any) -> bytes:
    """A file of level 5, by scipy."""
    stream = io.BytesIO()
    compression = variables.pop("do_compression", False)
    scipy_io.savemat(stream, variables, do_compression=compression)
    return stream.getvalue()


def saved_73(fill: Any = None, **arrays: Any) -> bytes:
    """A file of 7.3, by h5py; arrays as HDF5 has them."""
    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            made = file.create_dataset(name, data=array)
            made.attrs["MATLAB_class"] = np.bytes_(
                CLASSES.get(array.dtype.str[1:], array.dtype.name)
            )
        if fill is not None:
            fill(file)
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\0\2IM"
    return text + stream.getvalue()[128:]


def read(data: bytes, name: str = "a.mat", memory: int = MEMORY, **options: Any) -> Image:
    assert FORMAT.claims(name, data[:1024])
    assert FORMAT.companions(name, data[:1024]) == ()
    return FORMAT.read(name, {name: MemoryBlob(name, data)}, memory=memory, options=options)


def write(image: Image, **options: Any) -> bytes:
    (blob,) = FORMAT.write(image, "d/a", options=options)
    data = bytes(read_all(blob))
    assert (blob.name, blob.size) == ("d/a.mat", len(data))
    return data


SHAPES = [(2, 3, 4), (1, 3, 4), (5, 2, 3, 4), (2, 5, 2, 3, 4)]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_read_level_5(dtype: str, packed: bool) -> None:
    """(rows, columns, slices, …) becomes (…, slice, row, column), of every type."""
    for shape in SHAPES:
        image = read(saved(A=matrix(voxels(dtype, shape)), do_compression=packed))
        np.testing.assert_array_equal(image.array, voxels(dtype, shape))
        assert image.array.dtype == np.dtype(dtype)
        assert image.array.flags.c_contiguous
        assert (image.affine, image.spacing, len(image.axes)) == (None, None, len(shape) - 3)


@pytest.mark.parametrize("dtype", TYPES)
def test_read_73(dtype: str) -> None:
    """HDF5's reversed dimensions become the same, of every type and in either byte order."""
    for shape in SHAPES:
        array = voxels(dtype, shape)
        for kept in (np.dtype(dtype), np.dtype(dtype).newbyteorder()):
            stored = np.swapaxes(array, -1, -2).astype(kept)
            image = read(saved_73(A=stored))
            np.testing.assert_array_equal(image.array, array)
            assert image.array.dtype == np.dtype(dtype)


@pytest.mark.parametrize("shuffle", [False, True])
def test_read_73_chunks(shuffle: bool) -> None:
    """Compressed chunks, some of which hang over the edge, and ones that were never written."""
    array = voxels("i4", (3, 10, 7))
    stored = np.swapaxes(array, -1, -2)

    def fill(file: Any) -> None:
        options = {"chunks": (2, 4, 3), "compression": "gzip", "shuffle": shuffle}
        made = file.create_dataset("A", stored.shape, "i4", **options)
        made[:2] = stored[:2]

    array[2] = 0
    np.testing.assert_array_equal(read(saved_73(fill)).array, array)


def test_read_other_layouts() -> None:
    """A compact dataset, and one that was never written; bare HDF5 under the name .mat."""

    def fill(file: Any) -> None:
        making = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        making.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((2, 4, 3))
        made = h5py.h5d.create(file.id, b"A", h5py.h5t.NATIVE_INT16, space, making)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.swapaxes(voxels(), -1, -2).copy())
        file.create_dataset("E", (2, 4, 3), "f4")

    data = saved_73(fill)
    np.testing.assert_array_equal(read(data).array, voxels())
    assert not read(data, variable="E").array.any()
    bare = io.BytesIO()
    with h5py.File(bare, "w") as file:
        file["A"] = np.swapaxes(voxels(), -1, -2)
    np.testing.assert_array_equal(read(bare.getvalue()).array, voxels())
    assert not FORMAT.claims("a.h5", bare.getvalue()[:1024])


def test_matrix_is_one_slice() -> None:
    """A matrix of two dimensions is one slice."""
    assert read(saved(A=voxels(shape=(3, 4)))).array.shape == (1, 3, 4)


def test_axes() -> None:
    """The fourth dimension is called as imagedata calls it, unless the caller names it."""
    data = saved(A=matrix(voxels(shape=(5, 2, 3, 4))))
    (axis,) = read(data).axes
    assert (axis.name, axis.values.tolist()) == ("none", [0, 1, 2, 3, 4])
    (axis,) = read(data, axes="time").axes
    assert (axis.name, axis.unit) == ("time", "s")
    data = saved(A=matrix(voxels(shape=(6, 5, 2, 3, 4))))
    assert [axis.name for axis in read(data).axes] == ["axis4", "none"]
    assert [(axis.name, len(axis)) for axis in read(data, axes="time,te").axes] == [
        ("time", 6),
        ("te", 5),
    ]


def test_narrow_and_big_endian() -> None:
    """Doubles that are stored as bytes stay bytes; big endian words become the machine's."""
    array = voxels("f8")
    body = struct.pack(">4I", 6, 8, 6, 0) + struct.pack(">II3iI", 5, 12, 3, 4, 2, 0)
    body += struct.pack(">I", 1 << 16 | 1) + b"A\0\0\0"
    body += struct.pack(">II", 2, 24) + matrix(array).astype("u1").tobytes("F")
    text = b"MATLAB 5.0 MAT-file, by hand".ljust(116) + bytes(8) + b"\1\0MI"
    image = read(text + struct.pack(">II", 14, len(body)) + body)
    np.testing.assert_array_equal(image.array, array)
    assert image.array.dtype == np.uint8
    stream = text + struct.pack(">II", 14, len(body) + 24)
    body = body.replace(struct.pack(">II", 2, 24), struct.pack(">II", 3, 48))
    words = body[:-24] + matrix(array).astype(">i2").tobytes("F")
    image = read(stream + words)
    np.testing.assert_array_equal(image.array, array)
    assert image.array.dtype.isnative


def test_which_variable() -> None:
    """ "A" is taken, or the only volume; else the caller says which."""
    other = matrix(voxels("f4", (3, 3, 3)))
    image = read(saved(A=matrix(voxels()), other=other, text="patient"))
    np.testing.assert_array_equal(image.array, voxels())
    assert image.notes == ("2 other variables are not read",)
    image = read(saved(spacing=np.array([[1.0, 2, 3]]), img=matrix(voxels()), s={"a": 1}))
    np.testing.assert_array_equal(image.array, voxels())
    both = saved(x=matrix(voxels()), y=other)
    with pytest.raises(DataError, match=r"variable=.*'x' \(int16 3×4×2\), 'y' \(single 3×3×3\)"):
        read(both)
    np.testing.assert_array_equal(read(both, variable="x").array, voxels())
    with pytest.raises(DataError, match="no variable of that name"):
        read(both, variable="z")


@pytest.mark.parametrize("options", [{}, {"compress": True}, {"version": "7.3"}])
@pytest.mark.parametrize("dtype", TYPES)
def test_others_read_what_is_written(dtype: str, options: dict[str, Any]) -> None:
    """scipy (level 5) or h5py (7.3) finds one variable "A" in MATLAB's order; so do we."""
    for shape in SHAPES:
        array = voxels(dtype, shape)
        axes = tuple(Axis(f"x{n}", "", np.arange(float(n))) for n in shape[:-3])
        data = write(Image(array, axes), **options)
        if options.get("version"):
            with h5py.File(io.BytesIO(data)) as file:
                assert list(file) == ["A"]
                np.testing.assert_array_equal(file["A"][()], np.swapaxes(array, -1, -2))
                assert file["A"].dtype == np.dtype(dtype)
                told = file["A"].attrs["MATLAB_class"].decode()
            assert told == CLASSES.get(dtype, np.dtype(dtype).name)
            assert data[:19] == b"MATLAB 7.3 MAT-file"
        else:
            ((name, sides, _),) = scipy_io.whosmat(io.BytesIO(data))
            assert (name, sides) == ("A", matrix(array).shape)
            found = scipy_io.loadmat(io.BytesIO(data))["A"]
            np.testing.assert_array_equal(found, matrix(array))
            assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(read(data).array, array)


def test_as_imagedata(tmp_path: Path) -> None:
    """imagedata reads what is written, and what it writes is read: the same voxels, unflipped.

    Its plug-in is called itself: through its front door all of its readers would be tried.
    """
    plugin = pytest.importorskip("imagedata.formats.matplugin").MatPlugin()
    for shape in ((2, 3, 4), (5, 2, 3, 4)):
        array = voxels("u2", shape)
        axes = tuple(Axis("time", "s", np.arange(float(n))) for n in shape[:-3])
        path = tmp_path / "a.mat"
        path.write_bytes(write(Image(array, axes)))
        _, theirs = plugin._read_image(str(path), {}, SimpleNamespace(input_order="auto"))
        np.testing.assert_array_equal(theirs, array)
        again = saved(A=plugin._reorder_from_dicom(array))
        np.testing.assert_array_equal(read(again).array, array)


def test_logical_and_name() -> None:
    """Booleans are MATLAB's logical; another name for the variable is kept."""
    array = voxels() % 2 == 0
    data = write(Image(array), variable="mask")
    ((name, _, kind),) = scipy_io.whosmat(io.BytesIO(data))
    assert (name, kind) == ("mask", "logical")
    np.testing.assert_array_equal(read(data).array, array)
    data = write(Image(array), version="7.3")
    with h5py.File(io.BytesIO(data)) as file:
        assert file["A"].attrs["MATLAB_class"] == b"logical"
    np.testing.assert_array_equal(read(data).array, array)


def test_two_gigabytes() -> None:
    """From 2 GB on it is 7.3, laid out without the voxels in memory."""
    huge = np.broadcast_to(np.float32(7), (550, 1024, 1024))
    (blob,) = FORMAT.write(Image(huge), "a", options={})
    assert blob.size > huge.nbytes > 1 << 31
    head = bytearray(8192)
    assert read_at(blob, memoryview(head)) == len(head)
    assert head.startswith(b"MATLAB 7.3 MAT-file")
    assert np.frombuffer(head[-4:], np.float32)[0] == 7
    with pytest.raises(EncodeError, match="level 5"):
        list(FORMAT.write(Image(huge), "a", options={"version": "5"}))


@pytest.mark.parametrize(("version", "text"), [(5, b"MATLAB 5.0"), (7.3, b"MATLAB 7.3")])
def test_versions_as_numbers(version: float, text: bytes) -> None:
    """The command line's ``version=7.3`` is a number."""
    assert write(Image(np.zeros((2, 3, 4))), version=version).startswith(text)


@pytest.mark.parametrize(
    ("image", "options", "told"),
    [
        (Image(np.zeros((2, 3, 4, 3), np.uint8), color=True), {}, "colours"),
        (Image(np.zeros((2, 3, 4), np.complex64)), {}, "complex64"),
        (Image(np.zeros((2, 3, 4))), {"version": "4"}, 'version= is "5" or "7.3"'),
        (Image(np.zeros((2, 3, 4))), {"variable": "1st"}, "a MATLAB name"),
        (Image(np.zeros((2, 3, 4))), {"version": "7.3", "compress": True}, "compress"),
    ],
)
def test_what_cannot_be_written(image: Image, options: dict[str, Any], told: str) -> None:
    """What MATLAB files cannot hold is refused."""
    with pytest.raises(EncodeError, match=told):
        list(FORMAT.write(image, "a", options=options))


def opaque() -> bytes:
    """A variable of class "opaque", as MATLAB stores an object of a classdef."""
    body = struct.pack("<4I", 6, 8, 17, 0) + struct.pack("<I", 1 << 16 | 1) + b"A\0\0\0"
    body += struct.pack("<II8s", 1, 4, b"MCOS") + struct.pack("<II8s", 1, 6, b"string")
    return saved()[:128] + struct.pack("<II", 14, len(body)) + body


def of_class(code: int) -> bytes:
    """A variable of another class than the double that it would be."""
    data = bytearray(saved(A=np.ones((2, 2))))
    data[144] = code
    return bytes(data)


def external(file: Any) -> None:
    file.create_dataset("A", (4, 4), "u1", external=[("/etc/passwd", 0, 16)])


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4, 4), "u1")
    layout[:] = h5py.VirtualSource("other.h5", "A", (4, 4))
    file.create_virtual_dataset("A", layout)


def linked(file: Any) -> None:
    file["A"] = h5py.ExternalLink("other.h5", "/A")


def filtered(file: Any) -> None:
    file.create_dataset("A", data=np.ones((4, 4)), chunks=(4, 4), fletcher32=True)


def grouped(file: Any) -> None:
    file.create_group("A").attrs["MATLAB_class"] = np.bytes_(b"struct")


def handled(file: Any) -> None:
    file.create_dataset("A", data=np.ones((4, 4))).attrs["MATLAB_class"] = np.bytes_(
        b"function_handle"
    )


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (opaque(), "opaque object"),
        (of_class(16), "function handle"),
        (of_class(3), "is an object"),
        (saved(A={"a": 1}), "is a struct"),
        (saved(A="text"), "is a char"),
        (saved(A=np.ones((2, 2)) * 1j), "complex"),
        (saved(A=np.array([["a", 1]], object)), "is a cell"),
        (saved(), "it has none"),
        (saved(A=np.zeros((0, 3))), "the size 0×3"),
        (saved_73(external), "other files"),
        (saved_73(virtual), "other files"),
        (saved_73(linked), "somewhere else"),
        (saved_73(filtered), "filters"),
        (saved_73(grouped), "struct"),
        (saved_73(handled), "function_handle"),
        (saved_73(A=np.ones((3, 3)) * 1j), "complex"),
        (saved_73(), "it has none"),
        (saved_73(A=np.float64(7)), "one dimension"),
        (saved_73(A=np.arange(9.0)), "one dimension"),
    ],
)
def test_refused(data: bytes, told: str) -> None:
    """Objects, code, links and other things that are no numbers are refused by name."""
    with pytest.raises(DataError, match=told):
        read(data)


GOOD = saved(A=matrix(voxels("f8")))


def compressed(plain: bytes, wrap: bytes = GOOD) -> bytes:
    """A file whose variable is the zlib stream of some bytes."""
    packed = zlib.compress(plain)
    return wrap[:128] + struct.pack("<II", 15, len(packed)) + packed


def lying(rows: int, size: int) -> bytes:
    """A variable that says it has so many rows, and so many bytes of values."""
    data = bytearray(GOOD)
    data[160:164] = struct.pack("<i", rows)
    data[188:192] = struct.pack("<I", size)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (GOOD[:-1], "1 bytes short"),
        (GOOD[:128] + bytes(16), "is no variable"),
        (lying(4, 192), "not as long as its dimensions"),
        (lying(-3, 192), "negative dimensions"),
        (lying(6, 384), "not as long"),
        (compressed(b"damaged"), "cut short"),
        (compressed(GOOD[128:])[:200], "bytes short"),
        (compressed(GOOD[128:-8]), "variable is damaged"),
        (GOOD[:128] + struct.pack("<II", 15, 24) + b"?" * 24, "damaged"),
        (saved_73(A=np.ones((9, 9)))[:600], "HDF5 does not open it"),
    ],
)
def test_damaged_files(data: bytes, told: str) -> None:
    """What is wrong with a file is told with its name."""
    with pytest.raises(DataError, match=told) as caught:
        read(data)
    assert str(caught.value).startswith("a.mat: ")


def test_bombs() -> None:
    """What would inflate beyond the limit is refused before it is inflated."""
    huge = bytearray(GOOD[128:192])
    size = 8 * 1024 * 8 * 64
    huge[4:8] = struct.pack("<I", 56 + size)
    huge[32:44] = struct.pack("<3i", 1024, 8, 64)
    huge[60:64] = struct.pack("<I", size)
    with pytest.raises(TooLargeError, match="Limits"):
        read(compressed(bytes(huge) + bytes(size)))
    with pytest.raises(TooLargeError, match="Limits"):
        read(saved_73(lambda file: file.create_dataset("A", (9999, 9999), "f8")))


def test_chunk_bomb() -> None:
    """A chunk that inflates to more than its values is refused, with no more inflated."""

    def fill(file: Any) -> None:
        made = file.create_dataset("A", (8, 8), "u1", chunks=(8, 8), compression="gzip")
        made.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 16)))

    with pytest.raises(DataError, match="a chunk has 65 instead of 64 bytes"):
        read(saved_73(fill))


def test_member_of_a_zip() -> None:
    """A blob that is unpacked on the way is read into memory first, if it fits."""

    class Packed:
        name = "a.mat"
        size = len(GOOD)
        sequential = True

        def open(self) -> BlobReader:
            return MemoryBlob("a.mat", GOOD).open()

    image = FORMAT.read("a.mat", {"a.mat": Packed()}, memory=MEMORY, options={})
    np.testing.assert_array_equal(image.array, voxels("f8"))
    with pytest.raises(TooLargeError):
        FORMAT.read("a.mat", {"a.mat": Packed()}, memory=100, options={})


def mutated(data: st.DataObject, seeds: list[bytes], first: int) -> bytes:
    found = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(first, len(found) - 1))
        size = data.draw(st.integers(1, 4))
        found[place : place + size] = data.draw(st.binary(min_size=size, max_size=size))
    return bytes(found[: data.draw(st.integers(first, len(found)))])


SEEDS = [GOOD, saved(A=matrix(voxels("u1")), s={"a": 1}), compressed(GOOD[128:])]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_mutated_level_5(data: st.DataObject) -> None:
    """Whatever is changed in a file: a volume within the limit, or an error of ours."""
    try:
        blob = MemoryBlob("a.mat", mutated(data, SEEDS, 128))
        image = FORMAT.read("a.mat", {"a.mat": blob}, memory=MEMORY, options={})
    except SeriesIOError:
        return
    assert image.array.nbytes <= MEMORY


def chunked(file: Any) -> None:
    options = {"chunks": (2, 4, 3), "compression": "gzip", "shuffle": True}
    file.create_dataset("A", data=voxels("i4", (3, 7, 10)), **options)


SEEDS_73 = [saved_73(A=voxels("f8")), saved_73(chunked), write(Image(voxels()), version="7.3")]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_mutated_73(data: st.DataObject) -> None:
    """Whatever is changed in an HDF5 file: a volume within the limit, or an error of ours."""
    try:
        blob = MemoryBlob("a.mat", mutated(data, SEEDS_73, 512))
        image = FORMAT.read("a.mat", {"a.mat": blob}, memory=MEMORY, options={})
    except SeriesIOError:
        return
    assert image.array.nbytes <= MEMORY
