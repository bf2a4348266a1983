"""Elements → bytes, by pydicom's writer; what instances share is written once."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from io import BytesIO

from pydicom.dataelem import DataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element, write_file_meta_info

from ._phantom_headers import CHARACTER_SET, file_meta
from ._phantom_spec import Spec

__all__ = ["assemble", "encode_elements"]


def encode_elements(spec: Spec, elements: Iterable[DataElement]) -> dict[int, bytes]:
    """Tag to encoded element, in the byte order and VR encoding of the transfer syntax."""
    encoded = {}
    for element in elements:
        buffer = DicomBytesIO()
        buffer.is_implicit_VR = spec.transfer_syntax.is_implicit_VR
        buffer.is_little_endian = spec.transfer_syntax.is_little_endian
        write_data_element(buffer, element, CHARACTER_SET)
        encoded[int(element.tag)] = buffer.getvalue()
    return encoded


def _deflated(body: bytes) -> bytes:
    """PS3.5 A.5: a raw deflate stream, padded to even length."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = compressor.compress(body) + compressor.flush()
    return data + b"\0" * (len(data) % 2)


def assemble(spec: Spec, instance_uid: str, elements: Mapping[int, bytes]) -> bytes:
    """A Part 10 file (PS3.10 7), or the bare dataset if there shall be no preamble."""
    parts = [data for _, data in sorted(elements.items())]
    if not spec.preamble:
        return b"".join(parts)
    meta = BytesIO()
    write_file_meta_info(meta, file_meta(spec, instance_uid))  # type: ignore[arg-type]
    if spec.transfer_syntax.is_deflated:
        parts = [_deflated(b"".join(parts))]
    return b"".join([bytes(128), b"DICM", meta.getvalue(), *parts])
