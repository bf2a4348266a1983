"""Diffusion weighting of frames: b values and gradient directions, of every vendor.

Public attributes first: Diffusion b-value (0018,9087), Diffusion Gradient Orientation
(0018,9089) and Diffusion Directionality (0018,9075) of the MR Diffusion Macro (PS3.3 section
C.8.13.5.9), at the top level or in the functional groups. Then private ones, each only where its
creator is there; which they are is told by the vendors' conformance statements and by dcm2niix's
notes on each vendor (https://github.com/rordenlab/dcm2niix, directories GE, Siemens, Philips, UIH
and Canon), which the tests compare with.

Directions are unit vectors in patient coordinates (LPS); zeros where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from .csa import csa_numbers
from .positions import most_common
from .table import decode_text, numbers_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .frames import Frames

__all__ = ["B_READERS", "VECTOR_READERS", "weighting"]

Reader: TypeAlias = Callable[["Frames"], "NDArray[np.float64]"]
_SIEMENS: Final = "SIEMENS MR HEADER"
_GE_ACQUISITION, _GE_PARAMETERS = "GEMS_ACQU_01", "GEMS_PARM_01"
_PHILIPS, _PHILIPS_MORE = "Philips Imaging DD 001", "Philips MR Imaging DD 001"
_UIH: Final = "Image Private Header"
_UNDIRECTED: Final = frozenset({"NONE", "ISOTROPIC"})
_SMALL: Final = 1e-3  # of a direction's length: none at all
_B_LIMIT: Final = 1e6  # s/mm2: nothing that is measured is weighted more
# Canon writes b=1000(0.5,0.5,0.7) where other vendors have private elements.
_COMMENT: Final = re.compile(
    r"^\s*b\s*=\s*([0-9.]{1,16})(?=[\s(]|$)\s*(?:\(\s*([-+0-9.e]{1,24})\s*,\s*([-+0-9.e]{1,24})\s*,"
    r"\s*([-+0-9.e]{1,24})\s*\))?",
    re.IGNORECASE,
)


def weighting(frames: Frames) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """(n,) b values in s/mm2 and (n, 3) directions of frames; None where something is not told."""
    return _first(frames, B_READERS), _first(frames, VECTOR_READERS)


def _first(frames: Frames, readers: tuple[tuple[str, Reader], ...]) -> NDArray[np.float64] | None:
    found = (reader(frames) for _, reader in readers)
    return next((values for values in found if np.isfinite(values).all()), None)


def _private(
    frames: Frames, group: int, creator: str, element: int, vr: str, count: int = 1
) -> NDArray[np.float64]:
    """(n, count) numbers of a private element; NaN where there are none."""
    found = frames.private(group, creator, element, vr)
    if found is None:
        return np.full((len(frames), count), np.nan)
    return numbers_of(*found, count)


def _is_mr(frames: Frames) -> bool:
    """Only magnetic resonance is weighted by diffusion: others need not be looked through."""
    return any(decode_text(value) == "MR" for value in frames.column("Modality").values)


def _for_mr(reader: Reader, *shape: int) -> Reader:
    def read(frames: Frames) -> NDArray[np.float64]:
        return reader(frames) if _is_mr(frames) else np.full((len(frames), *shape), np.nan)

    return read


def _b_limited(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) b values; NaN for those that cannot be."""
    return np.where((values >= 0) & (values <= _B_LIMIT), values, np.nan)


# --- b values ---------------------------------------------------------------------------------


def _public_b(frames: Frames) -> NDArray[np.float64]:
    """Diffusion b-value; 0 where Diffusion Directionality is NONE and nothing else is said."""
    values = _b_limited(frames.numbers("DiffusionBValue")[:, 0])
    if not np.isnan(values).any() or np.isnan(values).all():
        return values
    return np.where(np.isnan(values) & _saying(frames, "NONE"), 0.0, values)


def _saying(frames: Frames, *terms: str) -> NDArray[np.bool_]:
    """(n,) True for frames whose Diffusion Directionality is one of the terms."""
    column = frames.column("DiffusionDirectionality")
    return np.array([decode_text(v) in terms for v in column.values], bool)[column.codes]


def _siemens_b(frames: Frames) -> NDArray[np.float64]:
    """(0019,xx0C) B_value."""
    return _b_limited(_private(frames, 0x0019, _SIEMENS, 0x0C, "IS")[:, 0])


def _csa_b(frames: Frames) -> NDArray[np.float64]:
    """B_value of the CSA image header (0029,xx10)."""
    return _b_limited(csa_numbers(frames, "B_value", 1)[:, 0])


def _ge_b(frames: Frames) -> NDArray[np.float64]:
    """(0043,xx39), first value, from which 10^9 has to be taken where it was added.

    Directions shorter than 1 scale it by the square of their length (dcm2niix issue 163).
    """
    told = _private(frames, 0x0043, _GE_PARAMETERS, 0x39, "IS")[:, 0]
    values = _b_limited(np.where(told >= 1e8, told % 1e5, told))
    lengths = np.linalg.norm(_ge_raw(frames), axis=1)
    scaled = (lengths > 0.03) & (lengths < 0.97)
    return np.where(scaled, values * lengths**2, values)


def _philips_b(frames: Frames) -> NDArray[np.float64]:
    """(2001,xx03) Diffusion B-Factor."""
    return _b_limited(_private(frames, 0x2001, _PHILIPS, 0x03, "FL")[:, 0])


def _uih_b(frames: Frames) -> NDArray[np.float64]:
    """(0065,xx09) BActualValue."""
    return _b_limited(_private(frames, 0x0065, _UIH, 0x09, "FD")[:, 0])


def _canon_b(frames: Frames) -> NDArray[np.float64]:
    """Image Comments, "b=1000(x,y,z)"."""
    return _b_limited(_comments(frames)[:, 0])


def _comments(frames: Frames) -> NDArray[np.float64]:
    """(n, 4) b, x, y, z of Canon's (Toshiba's) Image Comments; NaN where there are none."""
    makers = frames.column("Manufacturer").values
    if not any(decode_text(v).upper().startswith(("CANON", "TOSHIBA")) for v in makers):
        return np.full((len(frames), 4), np.nan)
    texts, codes = frames.texts("ImageComments")
    return np.array([_comment(text) for text in texts])[codes]


def _comment(text: str) -> tuple[float, float, float, float]:
    found = _COMMENT.match(text)
    nothing = float("nan")
    if found is None:
        return nothing, nothing, nothing, nothing
    try:
        b, *vector = (float(part) if part else 0.0 for part in found.groups())
    except ValueError:
        return nothing, nothing, nothing, nothing
    return (b, vector[0], vector[1], vector[2])


# --- directions -------------------------------------------------------------------------------


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) of length 1; zeros for those without length, NaN where nothing is known."""
    lengths = np.linalg.norm(vectors, axis=1)
    some = lengths > _SMALL
    safe = np.where(some, lengths, 1.0)[:, None]
    return np.where(np.isnan(lengths)[:, None], np.nan, vectors / safe * some[:, None]) + 0.0


def _directed(
    vectors: NDArray[np.float64], values: NDArray[np.float64], undirected: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Unit vectors, and zeros where the weighting is none or without direction."""
    if np.isnan(vectors).all():
        return vectors
    return _unit(np.where((undirected | (values == 0))[:, None], 0.0, vectors))


def _public_vector(frames: Frames) -> NDArray[np.float64]:
    """Diffusion Gradient Orientation; else the main axis of the b-matrix (0018,9602-9607)."""
    vectors = frames.numbers("DiffusionGradientOrientation", 3)
    undirected = _saying(frames, *_UNDIRECTED)
    lacking = np.isnan(vectors[:, 0])
    if lacking.any() and _saying(frames, "BMATRIX").any():
        keywords = [f"DiffusionBValue{place}" for place in ("XX", "XY", "XZ", "YY", "YZ", "ZZ")]
        parts = [frames.numbers(keyword)[:, 0] for keyword in keywords]
        vectors = np.where(lacking[:, None], _main_axis(np.stack(parts, axis=1)), vectors)
    return _directed(vectors, _public_b(frames), undirected)


def _main_axis(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) the main axes of (n, 6) symmetric matrices, their largest part positive.

    A b-matrix does not tell to which end of its axis a gradient points (dcm2niix issue 265).
    """
    whole = matrices[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    known = np.isfinite(whole).all(axis=(1, 2))
    axes = np.full((len(whole), 3), np.nan)
    axes[known] = np.linalg.eigh(whole[known])[1][:, :, -1]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return axes * np.where(largest < 0, -1.0, 1.0)


def _siemens_vector(frames: Frames) -> NDArray[np.float64]:
    """(0019,xx0E) DiffusionGradientDirection, (0019,xx0D) directionality, (0019,xx27) B_matrix."""
    vectors = _private(frames, 0x0019, _SIEMENS, 0x0E, "FD", 3)
    lacking = np.isnan(vectors[:, 0])
    if lacking.any():
        matrix = _private(frames, 0x0019, _SIEMENS, 0x27, "FD", 6)
        vectors = np.where(lacking[:, None], _main_axis(matrix), vectors)
    found = frames.private(0x0019, _SIEMENS, 0x0D, "CS")
    if found is None:
        undirected = np.zeros(len(frames), bool)
    else:
        told = [decode_text(value) in _UNDIRECTED for value in found[0].values]
        undirected = np.array(told, bool)[found[0].codes]
    return _directed(vectors, _siemens_b(frames), undirected)


def _csa_vector(frames: Frames) -> NDArray[np.float64]:
    """DiffusionGradientDirection of the CSA image header, else the main axis of its B_matrix."""
    values = _csa_b(frames)
    if np.isnan(values).all():
        return np.full((len(frames), 3), np.nan)
    vectors = csa_numbers(frames, "DiffusionGradientDirection", 3)
    if np.isnan(vectors).any():
        matrix = csa_numbers(frames, "B_matrix", 6)
        vectors = np.where(np.isnan(vectors), _main_axis(matrix), vectors)
    return _directed(vectors, values, np.zeros(len(frames), bool))


def _ge_raw(frames: Frames) -> NDArray[np.float64]:
    """(n, 3) (0019,xxBB), BC and BD as GE has them: along frequency, phase and slice."""
    parts = [_private(frames, 0x0019, _GE_ACQUISITION, part, "DS") for part in (0xBB, 0xBC, 0xBD)]
    return np.concatenate(parts, axis=1)


def _ge_vector(frames: Frames) -> NDArray[np.float64]:
    """GE's directions, brought from the frame of the gradients to the patient's."""
    raw = _ge_raw(frames)
    if np.isnan(raw).all():
        return raw
    return _directed(_from_gradients(frames, raw), _ge_b(frames), np.zeros(len(frames), bool))


def _from_gradients(frames: Frames, raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) directions along frequency, phase and slice, in patient coordinates.

    Rows are frequency encoded where In-plane Phase Encoding Direction is COL. Both ends of an
    axis weight alike; the signs are those of dcm2niix, which has them from dicm2nii's validation
    with phantoms, for patients that lie head first and supine.
    """
    raw = np.where(_texts_are(frames, "PatientPosition", "HFS")[:, None], raw, np.nan)
    column = _texts_are(frames, "InPlanePhaseEncodingDirection", "COL", "COLUMN")
    row = _texts_are(frames, "InPlanePhaseEncodingDirection", "ROW")
    swapped = np.stack([raw[:, 1], -raw[:, 0], raw[:, 2]], axis=1)
    image = np.where(column[:, None], raw, np.where(row[:, None], swapped, np.nan))
    coronal = np.abs(_axes(frames)[2]).argmax() == 1
    return _in_patient(frames, image * [-1.0, 1.0 if coronal else -1.0, 1.0])


def _texts_are(frames: Frames, keyword: str, *wanted: str) -> NDArray[np.bool_]:
    texts, codes = frames.texts(keyword)
    return np.array([text.upper() in wanted for text in texts], bool)[codes]


def _axes(frames: Frames) -> NDArray[np.float64]:
    """(3, 3) the unit vectors of rows, columns and normal."""
    cosines = most_common(frames.numbers("ImageOrientationPatient", 6))
    row, column = cosines[:3], cosines[3:]
    return np.stack([row, column, np.cross(row, column)])


def _in_patient(frames: Frames, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) vectors along rows, columns and normal, in patient coordinates."""
    return np.asarray(vectors @ _axes(frames))


def _philips_vector(frames: Frames) -> NDArray[np.float64]:
    """(2005,xxB0), B1 and B2: Diffusion Direction RL, AP and FH."""
    parts = [_private(frames, 0x2005, _PHILIPS_MORE, part, "FL") for part in (0xB0, 0xB1, 0xB2)]
    values = _philips_b(frames)
    return _directed(np.concatenate(parts, axis=1), values, np.zeros(len(frames), bool))


def _uih_vector(frames: Frames) -> NDArray[np.float64]:
    """(0065,xx37) DiffusionGradientDirection, along rows, columns and normal."""
    vectors = _private(frames, 0x0065, _UIH, 0x37, "FD", 3)
    if np.isnan(vectors).all():
        return vectors
    return _directed(_in_patient(frames, vectors), _uih_b(frames), np.zeros(len(frames), bool))


def _canon_vector(frames: Frames) -> NDArray[np.float64]:
    """Image Comments, "b=1000(x,y,z)": along phase, frequency and slice (dcm2niix issue 422)."""
    found = _comments(frames)
    if np.isnan(found).all():
        return found[:, 1:]
    vectors = _from_gradients(frames, found[:, [2, 1, 3]])
    return _directed(vectors, found[:, 0], np.zeros(len(frames), bool))


B_READERS: Final[tuple[tuple[str, Reader], ...]] = (
    ("DiffusionBValue", _public_b),
    ("B_value (0019,xx0C)", _for_mr(_siemens_b)),
    ("b value (0043,xx39)", _for_mr(_ge_b)),
    ("B-Factor (2001,xx03)", _for_mr(_philips_b)),
    ("BActualValue (0065,xx09)", _for_mr(_uih_b)),
    ("b= in ImageComments", _for_mr(_canon_b)),
    ("B_value of the CSA header", _for_mr(_csa_b)),
)
VECTOR_READERS: Final[tuple[tuple[str, Reader], ...]] = (
    ("DiffusionGradientOrientation", _public_vector),
    ("DiffusionGradientDirection (0019,xx0E)", _for_mr(_siemens_vector, 3)),
    ("gradient direction (0019,xxBB)", _for_mr(_ge_vector, 3)),
    ("Diffusion Direction (2005,xxB0)", _for_mr(_philips_vector, 3)),
    ("DiffusionGradientDirection (0065,xx37)", _for_mr(_uih_vector, 3)),
    ("direction in ImageComments", _for_mr(_canon_vector, 3)),
    ("DiffusionGradientDirection of the CSA header", _for_mr(_csa_vector, 3)),
)
