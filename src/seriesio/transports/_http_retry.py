"""When to ask a server again, and how long to wait before: pure, without a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["AGAIN", "Retry", "retry_after"]

# Too many requests, bad gateway, unavailable, gateway time-out (RFC 9110 section 15, RFC 6585).
AGAIN: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how patiently to ask again.

    Attributes:
        attempts: in all, the first one included.
        base: seconds before the second attempt, at most; doubled with each further one.
        most: seconds before any attempt, at most.
        patience: seconds that a server may ask for with ``Retry-After``.
    """

    attempts: int = 4
    base: float = 0.25
    most: float = 8.0
    patience: float = 60.0

    def delay(self, failed: int, asked: float | None, luck: float) -> float | None:
        """Seconds to wait after ``failed`` attempts; None: do not ask again.

        ``asked`` is what the server asks for; ``luck`` is from 0 to 1: what many callers that
        failed together are spread by.
        """
        if failed >= self.attempts:
            return None
        usual = min(self.base * 2.0 ** (failed - 1), self.most)
        if asked is None:
            return usual * (0.5 + luck / 2)
        return None if asked > self.patience else asked + self.base * luck


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a ``Retry-After`` asks for (RFC 9110 section 10.2.3); None: nothing readable.

    ``now`` is seconds since the epoch.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    then = (when - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    return max(then - now, 0.0)
