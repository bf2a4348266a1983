"""What an XNAT stand-in has been asked: for tests to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["XnatRequest"]


@dataclass(frozen=True, slots=True)
class XnatRequest:
    """A request that has been answered, or cut.

    Attributes:
        number: counts from 1, in the order in which requests came.
        method, path: as they came, the path still percent-encoded.
        query: the last value of each name.
        user: who asked; "" for nobody.
        authorization: how they proved it.
        session: which of the server's sessions it was, counted from 1; None without one.
        new_session: this request opened it.
        status: of the answer; 0 if there was none.
        received, sent: bytes of the two bodies.
        cut: the connection was cut, or the client was gone before the end.
    """

    number: int
    method: str
    path: str
    query: Mapping[str, str] = field(repr=False)
    user: str = field(repr=False)
    authorization: Literal["", "cookie", "basic", "form"]
    session: int | None
    new_session: bool
    status: int
    received: int
    sent: int
    cut: bool
