"""How bodies are framed: what was framed by hand is the oracle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seriesio.transports._http_framing import Chunked, FramingError, Sized


def framed(chunks: list[bytes], extension: bytes = b"") -> bytes:
    """Chunks as RFC 9112 section 7.1 has them, without the last one."""
    return b"".join(b"%X%s\r\n%s\r\n" % (len(one), extension, one) for one in chunks)


def taken(body: bytes, step: int) -> tuple[bytes, bytes, bool]:
    """(data, what is left to others, has it ended) of bytes that come ``step`` at a time."""
    framing, data = Chunked(), b""
    for at in range(0, len(body), step):
        parts, behind = framing.data(memoryview(body)[at : at + step])
        data += b"".join(parts)
        if framing.ended:
            return data, behind + body[at + step :], True
    return data, b"", False


@given(
    st.lists(st.binary(min_size=1, max_size=700), max_size=6),
    st.integers(1, 900),
    st.sampled_from([b"", b";name=value", b"  "]),
)
def test_chunks(chunks: list[bytes], step: int, extension: bytes) -> None:
    """However the bytes come, the data are whole, and the last chunk is left as it is."""
    last = b"0\r\nTrailer: x\r\n\r\nHTTP/1.1 200"
    assert taken(framed(chunks, extension) + last, step) == (b"".join(chunks), last, True)


def test_chunks_that_are_cut() -> None:
    """Without a last chunk there is no end."""
    assert taken(framed([b"abc"]) + b"5\r\nab", 4) == (b"abcab", b"", False)


@pytest.mark.parametrize("body", [b"x" * 600, b"-1\r\n" + bytes(600), b"3\r\nabcd" + b"1" * 600])
def test_no_chunks(body: bytes) -> None:
    """Bytes that are no chunks are refused, before much of them is kept."""
    with pytest.raises(FramingError):
        taken(body, 100)


def test_sized() -> None:
    """A body with a length ends with it; more is not taken."""
    framing = Sized(5)
    first, _ = framing.data(memoryview(b"abc"))
    assert not framing.ended
    second, behind = framing.data(memoryview(b"defg"))
    assert (b"".join([*first, *second]), behind, framing.ended) == (b"abcde", b"", True)
