"""Values to stored pixels; hand-made arrays, plain decimal arithmetic and pydicom judge."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom import Dataset
from pydicom.pixels.processing import apply_rescale
from pydicom.valuerep import is_valid_ds

from seriesio.dicom.encode import (
    Encoding,
    decimal_string,
    extent,
    fit,
    inverse,
    pixel_module,
    quantise,
)
from seriesio.dicom.pixels import PixelLayout
from seriesio.errors import EncodeError

CT = PixelLayout(
    4, 6, 1, 1, False, 16, 12, 11, False, "MONOCHROME2", "integer", "1.2.840.10008.1.2.1"
)


def ramp(dtype: str, low: int, high: int) -> np.ndarray[Any, Any]:
    return np.linspace(low, high, CT.rows * CT.columns).astype(dtype).reshape(CT.shape)


# --- back to the original representation ------------------------------------------------------


@pytest.mark.parametrize("values", ["i2", "i4", "i8", "f4", "f8"])
@pytest.mark.parametrize("little", [True, False])
def test_whole_intercept(values: str, little: bool) -> None:
    """Stored unsigned words come back from values of any type that holds them, in both orders."""
    stored = ramp("u2", 0, 4095)
    slot = (stored.astype("i8") - 1024).astype(values)
    data = inverse(slot, CT, 1.0, -1024.0, little)
    assert data is not None
    assert bytes(data) == stored.astype("<u2" if little else ">u2").tobytes()


@pytest.mark.parametrize("value", [-1025, 4095 - 1024 + 1, -32768, 32767])
def test_whole_intercept_out_of_range(value: int) -> None:
    """One value beyond Bits Stored, and the representation is refused."""
    slot = ramp("i2", -1024, 3071)
    slot[2, 3] = value
    assert inverse(slot, CT, 1.0, -1024.0, True) is None


def test_no_copy_without_rescale() -> None:
    """Without rescale and swap the bytes are the slot's own memory."""
    slot = ramp("u2", 0, 4095)
    data = inverse(slot, CT, 1.0, 0.0, True)
    assert data is not None
    assert np.shares_memory(np.frombuffer(data, np.uint8), slot)


@pytest.mark.parametrize("values", ["f4", "f8"])
def test_fractional_slope(values: str) -> None:
    """Floats made of stored values, in double or in single precision, come back exactly."""
    stored = ramp("u2", 0, 4095)
    double = (stored * 0.7314159 - 12.5).astype(values)
    single = stored.astype("f4") * np.float32(0.7314159) + np.float32(-12.5)
    for slot in (double, single):
        data = inverse(slot, CT, 0.7314159, -12.5, True)
        if data is None:  # single precision arithmetic cannot be told from another double value
            assert values == "f8"
            assert slot is single
            continue
        assert bytes(data) == stored.tobytes()


def test_between_two_steps() -> None:
    """A value that lies between two stored values is not rounded away in silence."""
    slot = (ramp("u2", 0, 4095) * 0.5).astype("f4")
    slot[0, 0] += 0.125
    assert inverse(slot, CT, 0.5, 0.0, True) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_not_finite_values(bad: float) -> None:
    """NaN, infinity and huge values have no stored value."""
    slot = ramp("f4", 0, 100)
    slot[1, 1] = bad
    assert inverse(slot, CT, 1.0, 0.0, True) is None


@pytest.mark.parametrize(
    ("slope", "intercept"), [(0.0, 0.0), (np.nan, 0.0), (1.0, np.inf), (1.0, 1e30)]
)
def test_senseless_rescale(slope: float, intercept: float) -> None:
    """A hostile slope or intercept gives a refusal, never an exception."""
    assert inverse(ramp("i2", 0, 100), CT, slope, intercept, True) is None
    assert inverse(ramp("f4", 0, 100), CT, slope, intercept, True) is None


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_all_widths(bits: int, signed: bool) -> None:
    """Each width, signed or not, gives back its extreme values."""
    stored = np.zeros(CT.shape, f"{'i' if signed else 'u'}{bits // 8}")
    stored[0, :2] = np.iinfo(stored.dtype).min, np.iinfo(stored.dtype).max
    layout = replace(CT, bits_allocated=bits, bits_stored=bits, high_bit=bits - 1, signed=signed)
    slot = stored.astype("i8") + 7
    data = inverse(slot, layout, 1.0, 7.0, True)
    assert data is not None
    assert bytes(data) == stored.tobytes()


def test_high_bit() -> None:
    """Bits that are stored at the top of the word are put back there."""
    stored = ramp("u2", 0, 4095)
    data = inverse(stored, replace(CT, high_bit=15), 1.0, 0.0, True)
    assert data is not None
    assert bytes(data) == (stored << 4).tobytes()


def test_single_bits() -> None:
    """Single bits are packed from the lowest bit of each byte on (PS3.5 section 8.1.1)."""
    layout = replace(CT, bits_allocated=1, bits_stored=1, high_bit=0)
    slot = np.zeros(CT.shape, bool)
    slot.reshape(-1)[[0, 9, 23]] = True
    data = inverse(slot, layout, 1.0, 0.0, True)
    assert data is not None
    assert bytes(data) == bytes([0b1, 0b10, 0b1000_0000])
    part = replace(layout, rows=1, columns=3, frames=2)
    assert inverse(slot[:1, :3], part, 1.0, 0.0, True) is None


def test_planes() -> None:
    """Colour by plane is put back by plane, frame after frame."""
    layout = replace(
        CT, samples=3, planar=True, photometric="RGB", bits_allocated=8, bits_stored=8,
        high_bit=7, frames=2,
    )  # fmt: skip
    planes = np.arange(2 * 3 * 24, dtype=np.uint8).reshape(2, 3, 4, 6)
    data = inverse(planes.transpose(0, 2, 3, 1), layout, 1.0, 0.0, True)
    assert data is not None
    assert bytes(data) == planes.tobytes()


@pytest.mark.parametrize("photometric", ["YBR_FULL", "PALETTE COLOR"])
def test_converted_colour(photometric: str) -> None:
    """RGB that was made of another colour space is not taken for its stored values."""
    samples = 1 if photometric == "PALETTE COLOR" else 3
    layout = replace(
        CT, samples=samples, photometric=photometric, bits_allocated=8, bits_stored=8, high_bit=7
    )
    assert inverse(np.zeros((4, 6, 3), np.uint8), layout, 1.0, 0.0, True) is None


@pytest.mark.parametrize(("kind", "dtype"), [("float", "f4"), ("double", "f8")])
def test_float_pixels(kind: str, dtype: str) -> None:
    """Float pixels are given back bit by bit, NaN included, and swapped for big endian."""
    layout = replace(CT, kind=kind, bits_allocated=32 if kind == "float" else 64)
    slot = ramp(dtype, -1, 1)
    slot[0, 0] = np.nan
    for little in (True, False):
        data = inverse(slot, layout, 1.0, 0.0, little)
        assert data is not None
        assert bytes(data) == slot.astype(slot.dtype.newbyteorder("<" if little else ">")).tobytes()
    assert inverse(slot + 1, layout, 3.0, 0.1, True) is None


# --- decimal strings --------------------------------------------------------------------------


@given(st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_decimal_string(value: float, up: bool) -> None:
    """Every float gets a valid Decimal String on the asked side, next to it."""
    text = decimal_string(value, up=up)
    assert len(text) <= 16
    assert is_valid_ds(text)
    said, exact = Fraction(text), Fraction(value)
    assert said >= exact if up else said <= exact
    assert abs(said - exact) <= abs(exact) * Fraction(1, 10**7)


def test_decimal_string_of_simple_numbers() -> None:
    """What fits is written as people write it."""
    assert decimal_string(0.5, up=True) == "0.5"
    assert decimal_string(-1024.0, up=False) == "-1024"
    assert decimal_string(0.0, up=False) == "0"
    with pytest.raises(EncodeError):
        decimal_string(float("nan"), up=True)


# --- an honest new representation -------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "allocated", "stored", "signed"),
    [
        (0, 1, 8, 8, False),
        (0, 255, 8, 8, False),
        (0, 256, 16, 12, False),
        (0, 4096, 16, 13, False),
        (0, 65535, 16, 16, False),
        (-1, 100, 16, 12, True),
        (-2048, 2047, 16, 12, True),
        (-2048, 2048, 16, 13, True),
        (-32768, 32767, 16, 16, True),
        (-32769, 0, 32, 17, True),
        (0, 65536, 32, 17, False),
        (0, 2**32 - 1, 32, 32, False),
        (-(2**31), 2**31 - 1, 32, 32, True),
    ],
)
def test_fit_integers(low: int, high: int, allocated: int, stored: int, signed: bool) -> None:
    """Whole numbers take the fewest bits, without rescale."""
    encoding = fit(low, high, np.int64, integral=True)
    assert encoding == Encoding(
        allocated, stored, stored - 1, signed, "1", "0",
        np.dtype(f"{'i' if signed else 'u'}{allocated // 8}"),
    )  # fmt: skip


@pytest.mark.parametrize(("low", "high"), [(0, 2**32), (-1, 2**31), (-(2**31) - 1, 0)])
def test_fit_refuses_wide_integers(low: int, high: int) -> None:
    """Whole numbers beyond 32 bits are refused, not rounded in silence."""
    with pytest.raises(EncodeError, match="32"):
        fit(low, high, np.int64, integral=True)


@pytest.mark.parametrize("dtype", ["c8", "O", "S3", "M8[s]"])
def test_fit_refuses_what_is_no_number(dtype: str) -> None:
    """Complex numbers, objects, text and dates cannot be stored, and the error says so."""
    with pytest.raises(EncodeError, match="real numbers"):
        fit(0, 1, dtype, integral=False)
    with pytest.raises(EncodeError, match="real numbers"):
        extent(np.zeros(3, dtype))


def test_not_finite() -> None:
    """Values that are not finite are counted in the error, which names the way out."""
    array = np.array([1.0, np.nan, np.inf, 2.0])
    with pytest.raises(EncodeError, match=r"2 of 4 .* numpy\.nan_to_num"):
        extent(array)
    with pytest.raises(EncodeError, match=r"2 of 4"):
        quantise(array, fit(0.5, 2.0, "f8", integral=False), True)
    with pytest.raises(EncodeError, match="not finite"):
        fit(float("nan"), 1.0, "f8", integral=False)
    with pytest.raises(EncodeError, match="without values"):
        extent(np.zeros(0))


def test_outside_the_range() -> None:
    """Values that the encoding was not made for raise instead of wrapping around."""
    for integral in (True, False):
        encoding = fit(0.0, 300.0, "f8", integral=integral)
        with pytest.raises(EncodeError, match="outside"):
            quantise(np.array([5000.0]), encoding, True)


def test_quantise_integers() -> None:
    """Whole numbers are stored as they are, with their true extremes, in both byte orders."""
    array = np.array([[-5, 7], [300, -2000]])
    encoding = fit(*extent(array), array.dtype, integral=True)
    for little, dtype in ((True, "<i2"), (False, ">i2")):
        data, smallest, largest = quantise(array, encoding, little)
        assert bytes(data) == array.astype(dtype).tobytes()
        assert (smallest, largest) == (-2000, 300)
    mask = np.array([[True, False]])
    assert bytes(quantise(mask, fit(0, 1, bool, integral=True), True)[0]) == b"\1\0"


FLOATS = st.floats(-1.79e308, 1.79e308)


def check_half_step(array: np.ndarray[Any, Any]) -> None:
    encoding = fit(*extent(array), array.dtype, integral=False)
    data, smallest, largest = quantise(array, encoding, True)
    stored = np.frombuffer(bytes(data), "<u2").astype(float).reshape(array.shape)
    assert (stored.min(), stored.max()) == (smallest, largest)
    slope, intercept = Fraction(float(encoding.slope)), Fraction(float(encoding.intercept))
    half = slope / 2
    for value, step in zip(array.ravel().tolist(), stored.ravel().tolist(), strict=True):
        error = abs(Fraction(step) * slope + intercept - Fraction(value))
        # A hair for the roundings of double precision on the way.
        assert error <= half * (1 + Fraction(1, 10**9)) + abs(Fraction(value)) / 2**52


@settings(max_examples=150, deadline=None)
@given(arrays(np.float64, 12, elements=FLOATS))
def test_half_a_step(array: np.ndarray[Any, Any]) -> None:
    """Any finite doubles, huge and tiny ones too, come back within half a step."""
    check_half_step(array)


@settings(max_examples=150, deadline=None)
@given(
    st.floats(-1e12, 1e12),
    arrays(np.float64, 12, elements=st.floats(0, 1)),
    st.integers(-20, 6),
)
def test_half_a_step_on_an_offset(offset: float, array: np.ndarray[Any, Any], power: int) -> None:
    """A narrow range far from zero comes back within half a step."""
    check_half_step(offset + array * 10.0**power)


@pytest.mark.parametrize("value", [0.0, np.pi, -1e300, 5e-324, 1e16 + 2, -0.1])
def test_constant(value: float) -> None:
    """A constant array comes back as good as 16 characters and 65,536 steps can say it."""
    array = np.full(5, value)
    check_half_step(array)


def test_largest_double() -> None:
    """What no Decimal String can say is refused with an error of ours."""
    with pytest.raises(EncodeError, match="decimal string"):
        fit(-np.finfo("f8").max, 0.0, "f8", integral=False)


def test_pydicom_reads_it_back() -> None:
    """pydicom's own rescale gives the values back from what the changes and the bytes say."""
    array = np.random.default_rng(4).normal(3.0, 20.0, (4, 6)).astype("f4")
    encoding = fit(*extent(array), array.dtype, integral=False)
    data, smallest, largest = quantise(array, encoding, True)
    dataset = Dataset()
    for tag, change in pixel_module(encoding, smallest, largest).items():
        if change is not None:
            dataset.add_new(tag, *change)
    stored = np.frombuffer(bytes(data), "u2").reshape(array.shape)
    assert np.abs(apply_rescale(stored, dataset) - array).max() <= encoding.half_step * 1.0001
    assert dataset.SmallestImagePixelValue == stored.min()
    assert dataset.LargestImagePixelValue == stored.max()


def test_fit_words() -> None:
    """What a scanner's IOD cannot have in bytes takes words, all of whose bits are used."""
    for low, high, signed in ((0, 1, False), (0, 4000, False), (-5, 300, True)):
        encoding = fit(low, high, np.int32, integral=True, words=True)
        found = encoding.bits_allocated, encoding.bits_stored, encoding.high_bit, encoding.signed
        assert found == (16, 16, 15, signed)
    assert fit(0, 70000, np.int32, integral=True, words=True).bits_allocated == 32


@pytest.mark.parametrize(("low", "high"), [(0.0, 7.5), (-3.0, 2.0), (2.0, 9.0), (0.0, 0.0)])
def test_fit_proportions(low: float, high: float) -> None:
    """Without an intercept, zero is stored as zero, and every value within half a step."""
    array = np.linspace(low, high, 1000)
    encoding = fit(low, high, np.float64, integral=False, proportional=True)
    assert (encoding.intercept, encoding.signed) == ("0", low < 0)
    data, _, _ = quantise(array, encoding, True)
    back = np.frombuffer(data, encoding.dtype) * float(encoding.slope)
    assert np.abs(back - array).max() <= float(encoding.slope) / 2 * 1.0001
    assert float(encoding.slope) <= max(abs(low), abs(high)) / 32766 or high == low


# --- what the header says ---------------------------------------------------------------------


def test_pixel_module_of_integers() -> None:
    """Signed words are said to be signed; what spoke of the old stored values goes."""
    encoding = fit(-5, 300, np.int16, integral=True)
    changes = pixel_module(encoding, -5, 300, photometric="MONOCHROME1")
    assert changes[0x00280106] == ("SS", -5)
    assert changes[0x00280107] == ("SS", 300)
    assert changes[0x00280103] == ("US", 1)
    assert changes[0x00280004] == ("CS", "MONOCHROME1")
    assert changes[0x00281053] == ("DS", "1")
    assert changes[0x00280120] is None
    assert changes[0x00283000] is None
    assert not {0x00281050, 0x00281051, 0x00281054, 0x00282110} & changes.keys()


def test_pixel_module_of_colour_and_wide_words() -> None:
    """RGB has no rescale; 32-bit extremes have no element that could hold them."""
    colour = pixel_module(
        fit(0, 255, np.uint8, integral=True), 0, 255, samples=3, photometric="PALETTE COLOR"
    )
    assert colour[0x00280002] == ("US", 3)
    assert colour[0x00280004] == ("CS", "RGB")
    assert colour[0x00280006] == ("US", 0)
    assert colour[0x00281101] is None
    assert colour[0x00281053] is None
    wide = pixel_module(fit(0, 1 << 20, np.uint32, integral=True), 0, 1 << 20)
    assert wide[0x00280106] is None
    assert wide[0x00280006] is None
