"""Specific Character Set: text out of bytes and into bytes, without losing a character.

Codecs and escape sequences are pydicom's (PS3.3 section C.12.1.1.2, PS3.5 section 6.1). Two
things differ. Nothing here warns: a term that is misspelled in a file is the file's matter. And
where pydicom would write a question mark or a character of another set, None is returned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from pydicom.charset import (
    CODES_TO_ENCODINGS,
    STAND_ALONE_ENCODINGS,
    encode_string,
    handled_encodings,
    python_encoding,
)

__all__ = [
    "UTF8",
    "codecs_for",
    "codecs_in",
    "decode",
    "decode_strictly",
    "encode",
    "is_known",
    "is_plain",
]

UTF8 = "ISO_IR 192"
_DEFAULT = python_encoding[""]  # what pydicom reads ISO-IR 6 with; latin-1, to be lenient
_ESCAPE = b"\x1b"
_FRAGMENT = re.compile(rb"^[^\x1b]+|\x1b[^\x1b]*")
_DELIMITER = re.compile(rb"[\t\n\f\r]")  # behind it the first codec is in force again


@lru_cache(maxsize=256)
def codecs_in(value: bytes) -> tuple[str, ...]:
    """The codecs for the bytes of (0008,0005)."""
    terms = value.decode("latin-1").split("\\")
    return codecs_for(tuple(term.strip(" \0") for term in terms))


@lru_cache(maxsize=256)
def codecs_for(terms: tuple[str, ...]) -> tuple[str, ...]:
    """Python's codecs for defined terms, the first for text without escape sequences."""
    first = _codec(terms[0]) if terms else _DEFAULT
    if not terms or terms[0] in STAND_ALONE_ENCODINGS:
        return (first,)
    others = (term for term in terms[1:] if term not in STAND_ALONE_ENCODINGS)
    return (first, *map(_codec, others))


def _codec(term: str) -> str:
    spelled = re.sub(r"^ISO[ _-]IR[ _-]", "ISO_IR ", term)
    spelled = re.sub(r"^ISO[ _-]2022[ _-]IR[ _-]", "ISO 2022 IR ", spelled)
    return python_encoding.get(spelled, _DEFAULT)


def is_known(term: str) -> bool:
    """True for a defined term; the empty one stands for the default repertoire."""
    return term in python_encoding


def is_plain(data: bytes) -> bool:
    """True if bytes mean the same in every character set: ASCII without escape sequences."""
    return data.isascii() and _ESCAPE not in data


def decode(data: bytes, codecs: Sequence[str]) -> str:
    """Text; what does not decode is shown as replacement characters."""
    if _ESCAPE not in data:
        return data.decode(codecs[0], errors="replace")
    return "".join(_decode_fragment(part, codecs) for part in _FRAGMENT.findall(data))


def _decode_fragment(part: bytes, codecs: Sequence[str]) -> str:
    """Bytes from one escape sequence to the next (PS3.5 section 6.1.2.5)."""
    length = 4 if part.startswith((b"\x1b$(", b"\x1b$)")) else 3
    codec = CODES_TO_ENCODINGS.get(part[:length], "")
    if codec not in codecs and codec != _DEFAULT:
        return part.decode(codecs[0], errors="replace")
    if codec in handled_encodings:
        return part.decode(codec, errors="replace")  # Python's codec knows the escape sequence
    end = _DELIMITER.search(part, length)
    stop = end.start() if end else len(part)
    text = part[length:stop].decode(codec, errors="replace")
    return text + part[stop:].decode(codecs[0], errors="replace")


def decode_strictly(data: bytes, codecs: Sequence[str]) -> str | None:
    """Text, or None where bytes do not decode in the character set."""
    if codecs[0] == _DEFAULT and not data.split(_ESCAPE, 1)[0].isascii():
        return None  # not of the default repertoire, so nobody knows what it is
    text = decode(data, codecs)
    return None if "\ufffd" in text else text


def encode(text: str, codecs: Sequence[str]) -> bytes | None:
    """Bytes, or None where the character set has no place for a character."""
    if text.isascii():
        return text.encode("ascii")
    if not all(any(_holds(codec, character) for codec in codecs) for character in set(text)):
        return None
    data = encode_string(text, codecs)
    return data if decode_strictly(data, codecs) == text else None


def _holds(codec: str, character: str) -> bool:
    try:
        character.encode("ascii" if codec == _DEFAULT else codec)
    except UnicodeError:
        return False
    return True
