"""Large bodies: from the connection into the buffers of whoever wants them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeAlias

import httpcore

from ._http_framing import Framing, FramingError

if TYPE_CHECKING:
    from ._http_wire import WireStream

__all__ = ["Filled", "batched", "copied", "taken_over"]

# What has come into a buffer by now; and whether the next goes into another one.
Filled: TypeAlias = tuple[list[memoryview], bool]


async def taken_over(
    stream: WireStream,
    framing: Framing,
    rest: AsyncIterator[bytes],
    buffers: Iterator[memoryview],
    timeout: float | None,
) -> AsyncGenerator[Filled, None]:
    """A body from its connection, past whoever has read the head of the answer.

    The end of a body in chunks is left to ``rest``, the usual way to read it: so the connection
    can be used again.

    Raises:
        httpcore.RemoteProtocolError: it ends early, or is no body.
    """
    for buffer in buffers:
        at = 0
        while at < buffer.nbytes:
            count = await stream.read_into(buffer[at:], timeout)
            if not count:
                raise httpcore.RemoteProtocolError("the body is not complete")
            try:
                parts, behind = framing.data(buffer[at : at + count])
            except FramingError as error:
                raise httpcore.RemoteProtocolError(str(error)) from error
            at += count
            yield parts, at == buffer.nbytes
            if behind:
                stream.put_back(behind)
                async for _ in rest:
                    pass
            if framing.ended:
                return


async def copied(
    chunks: AsyncIterator[bytes], buffers: Iterator[memoryview]
) -> AsyncGenerator[Filled, None]:
    """A body that comes the usual way."""
    buffer, at = next(buffers), 0
    async for chunk in chunks:
        for piece in _pieces(memoryview(chunk), buffer.nbytes):
            if at + piece.nbytes > buffer.nbytes:
                buffer, at = next(buffers), 0
                yield [], True
            end = at + piece.nbytes
            buffer[at:end] = piece
            yield [buffer[at:end]], False
            at = end


def _pieces(data: memoryview, most: int) -> Iterator[memoryview]:
    for start in range(0, data.nbytes, most):
        yield data[start : start + most]


async def batched(
    parts: AsyncGenerator[Filled, None], pause: float
) -> AsyncGenerator[list[memoryview], None]:
    """What is in a buffer together, or what came within ``pause`` seconds; before an error too."""
    batch: list[memoryview] = []
    begun = time.monotonic()
    async with aclosing(parts):
        try:
            async for some, full in parts:
                batch += some
                if batch and (full or time.monotonic() - begun > pause):
                    yield batch
                    batch, begun = [], time.monotonic()
        except Exception:
            if batch:
                yield batch
            raise
    if batch:
        yield batch
