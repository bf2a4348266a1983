"""The ways a member can be packed, behind one verb: fill memory with the next bytes of it."""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable
from typing import Protocol

from ..blob import copy
from ..inflate import inflater

__all__ = ["BlockCodec", "Codec", "DeflateCodec", "StoredCodec", "codec_errors", "lzma_codec"]

Fetch = Callable[[], bytes]
_MAX_DICTIONARY = 1 << 30


class Codec(Protocol):
    """Unpacks one member, forward only."""

    heavy: bool
    """True if it holds so much memory that only few may wait between two reads."""

    def fill(self, fetch: Fetch, view: memoryview) -> int:
        """Fill some of ``view`` (at least 1 byte); none at the end of the stream or of the input.

        ``fetch`` gives packed bytes, none at their end.

        Returns:
            How many bytes from the start of ``view`` on were filled.
        """
        ...

    def drop_tail(self) -> int:
        """Forget the packed bytes that were fetched and not used; how many they were."""
        ...

    def ended(self) -> bool:
        """True if the stream has come to its own end, with nothing behind it."""
        ...


class StoredCodec:
    """Not packed at all (only needed below a cipher)."""

    heavy = False

    def __init__(self) -> None:
        self._tail = memoryview(b"")

    def fill(self, fetch: Fetch, view: memoryview) -> int:
        data = self._tail or memoryview(fetch())
        part = data[: view.nbytes]
        copy(part, view[: part.nbytes])
        self._tail = data[part.nbytes :]
        return part.nbytes

    def drop_tail(self) -> int:
        count, self._tail = self._tail.nbytes, memoryview(b"")
        return count

    def ended(self) -> bool:
        return not self._tail


class DeflateCodec:
    """Deflate; the fastest inflater that is installed."""

    heavy = False

    def __init__(self) -> None:
        self._stream = inflater()
        self._tail = memoryview(b"")

    def fill(self, fetch: Fetch, view: memoryview) -> int:
        while not self._stream.eof:
            data = self._tail or memoryview(fetch())
            used, count = self._stream.into(data, view)
            self._tail = data[used:]
            if count or not data:
                return count
        return 0

    def drop_tail(self) -> int:
        count, self._tail = self._tail.nbytes, memoryview(b"")
        return count

    def ended(self) -> bool:
        return self._stream.eof and not self._tail


class BlockCodec:
    """Bzip2 and LZMA: decoders that keep their input, and megabytes of state."""

    heavy = True

    def __init__(
        self, stream: bz2.BZ2Decompressor | lzma.LZMADecompressor, marked: bool = True
    ) -> None:
        self._stream = stream
        self._marked = marked  # the stream says itself where it ends

    def fill(self, fetch: Fetch, view: memoryview) -> int:
        while not self._stream.eof:
            hungry = self._stream.needs_input
            data = fetch() if hungry else b""
            out = self._stream.decompress(data, view.nbytes)
            copy(memoryview(out), view[: len(out)])
            if out or (hungry and not data):
                return len(out)
        return 0

    def drop_tail(self) -> int:
        return 0

    def ended(self) -> bool:
        return not self._marked or (self._stream.eof and not self._stream.unused_data)


def lzma_codec(properties: bytes, size: int, marked: bool) -> BlockCodec:
    """An LZMA decoder from the five property bytes (APPNOTE 5.8.8).

    The dictionary need not be larger than the ``size`` of what comes out; without that bound
    five bytes could ask for 4 GiB.

    Raises:
        ValueError: properties that LZMA does not have.
    """
    rest, dictionary = properties[0], int.from_bytes(properties[1:5], "little")
    rest, lc = divmod(rest, 9)
    pb, lp = divmod(rest, 5)
    if pb > 4 or lc + lp > 4:
        raise ValueError("impossible LZMA properties")
    bounded = max(4096, min(dictionary, size, _MAX_DICTIONARY))
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": bounded, "lc": lc, "lp": lp, "pb": pb}]
    return BlockCodec(lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters), marked)


def codec_errors() -> tuple[type[Exception], ...]:
    """What decoders raise over damaged data."""
    return (lzma.LZMAError, OSError, EOFError, ValueError)
