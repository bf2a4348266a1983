"""The header of a MetaImage, out of an image."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import EncodeError
from ..guest.data import number_text, split_affine, steps_of, told_axes
from .header import MODALITIES, MOST_AXES, TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...dicom.sorting import Axis
    from ..image import Image

__all__ = ["header_lines"]

_NAMES: Final = {code: name for name, code in reversed(TYPES.items())}
_WORD: Final = 25  # characters of a number and a blank
_LONGEST: Final = 30_000  # characters of a line: MetaIO fails from 32768 on


def header_lines(image: Image, dtype: np.dtype[Any], data_file: str, packed: int | None) -> bytes:
    """The header of an image; ``packed`` is the size of the zlib stream, if there is one.

    Raises:
        EncodeError: an affine that is none, more axes than the format has.
    """
    sizes = image.array.shape[::-1][1:] if image.color else image.array.shape[::-1]
    if len(sizes) > MOST_AXES:
        raise EncodeError(f"a MetaImage has {MOST_AXES} axes at the most, not {len(sizes)}")
    further = told_axes(image)[::-1]
    fields: dict[str, object] = {
        "ObjectType": "Image",
        "NDims": len(sizes),
        "BinaryData": True,
        "BinaryDataByteOrderMSB": sys.byteorder == "big",
        "CompressedData": packed is not None,
        **({} if packed is None else {"CompressedDataSize": packed}),
        **_place_fields(image, further),
        **_modality(image),
        **{key: text for k, axis in enumerate(further, 3) for key, text in _axis_fields(k, axis)},
        "DimSize": " ".join(map(str, sizes)),
        **({"ElementNumberOfChannels": 3} if image.color else {}),
        "ElementType": _NAMES[dtype.str[1:]],
        "ElementDataFile": data_file,
    }
    text = "".join(f"{key} = {value}\n" for key, value in fields.items())
    return text.encode("utf-8", "surrogateescape")


def _place_fields(image: Image, further: Sequence[Axis]) -> dict[str, str]:
    pairs = [steps_of(axis.values) for axis in further]
    # A step of zero or backwards is no spacing to ITK; the values are told by name then.
    told = [pair if pair and pair[1] > 0 else (0.0, 1.0) for pair in pairs]
    steps, starts = [step for _, step in told], [start for start, _ in told]
    if image.affine is None:
        spacing = image.spacing[::-1] if image.spacing else (1.0, 1.0, 1.0)
        shown = image.spacing or further
        return {"ElementSpacing": _text([*spacing, *steps])} if shown else {}
    directions, spacing_, origin = split_affine(image.affine)
    matrix = np.eye(3 + len(steps))
    matrix[:3, :3] = directions.T
    return {
        "TransformMatrix": _text(matrix.ravel().tolist()),
        "Offset": _text([*origin.tolist(), *starts]),
        "CenterOfRotation": _text([0.0] * len(matrix)),
        "ElementSpacing": _text([*spacing_.tolist(), *steps]),
    }


def _text(values: Sequence[float]) -> str:
    return " ".join(map(number_text, values))


def _modality(image: Image) -> dict[str, str]:
    codes = {modality: code for code, modality in MODALITIES.items()}
    code = codes.get(str(image.attributes.get("Modality", "")))
    return {"Modality": code} if code else {}


def _axis_fields(place: int, axis: Axis) -> list[tuple[str, str]]:
    """What the common fields don't say of an axis: a name other than time, uneven values."""
    if "".join(axis.name.split()) != axis.name or not axis.name.isascii():
        raise EncodeError("the name of an axis is one word of ASCII letters")
    fields = [] if (place, axis.name) == (3, "time") else [(f"Axis{place}Name", axis.name)]
    pair = steps_of(axis.values)
    if (pair is None or pair[1] <= 0) and axis.values.dtype.kind in "iuf":
        fields += _value_fields(f"Axis{place}Values", axis.values.ravel().tolist())
    return fields


def _value_fields(key: str, values: Sequence[float]) -> list[tuple[str, str]]:
    """Values in as many fields as it takes: Axis3Values, Axis3Values2 …"""
    count = _LONGEST // _WORD
    parts = [values[first : first + count] for first in range(0, len(values), count)]
    return [(f"{key}{n if n > 1 else ''}", _text(part)) for n, part in enumerate(parts, 1)]
