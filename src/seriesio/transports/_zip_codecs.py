"""The ways a member can be packed, behind one verb: pull the next bytes out of it."""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable
from typing import Protocol

from ..inflate import decompressobj, inflate_errors

__all__ = ["BlockCodec", "Codec", "DeflateCodec", "StoredCodec", "codec_errors", "lzma_codec"]

Fetch = Callable[[], bytes]
_MAX_DICTIONARY = 1 << 30


class Codec(Protocol):
    """Unpacks one member, forward only."""

    heavy: bool
    """True if it holds so much memory that only few may wait between two reads."""

    def pull(self, fetch: Fetch, limit: int) -> bytes:
        """Up to ``limit`` bytes (at least 1); none at the end of the stream or of the input.

        ``fetch`` gives packed bytes, none at their end.
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
        self._tail = b""

    def pull(self, fetch: Fetch, limit: int) -> bytes:
        data = self._tail or fetch()
        self._tail = data[limit:]
        return data[:limit]

    def drop_tail(self) -> int:
        count, self._tail = len(self._tail), b""
        return count

    def ended(self) -> bool:
        return not self._tail


class DeflateCodec:
    """Deflate; the fastest inflater that is installed."""

    heavy = False

    def __init__(self) -> None:
        self._stream = decompressobj(-15)
        self._tail = b""

    def pull(self, fetch: Fetch, limit: int) -> bytes:
        while not self._stream.eof:
            data = self._tail or fetch()
            out = self._stream.decompress(data, limit)
            self._tail = self._stream.unconsumed_tail
            if out or not data:
                return out
        return b""

    def drop_tail(self) -> int:
        count, self._tail = len(self._tail), b""
        return count

    def ended(self) -> bool:
        return self._stream.eof and not self._stream.unused_data


class BlockCodec:
    """Bzip2 and LZMA: decoders that keep their input, and megabytes of state."""

    heavy = True

    def __init__(
        self, stream: bz2.BZ2Decompressor | lzma.LZMADecompressor, marked: bool = True
    ) -> None:
        self._stream = stream
        self._marked = marked  # the stream says itself where it ends

    def pull(self, fetch: Fetch, limit: int) -> bytes:
        while not self._stream.eof:
            hungry = self._stream.needs_input
            data = fetch() if hungry else b""
            out = self._stream.decompress(data, limit)
            if out or (hungry and not data):
                return out
        return b""

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
    return (*inflate_errors(), lzma.LZMAError, OSError, EOFError, ValueError)
