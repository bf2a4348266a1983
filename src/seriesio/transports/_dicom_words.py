"""What a peer means by its numbers when it negotiates or ends an association, in words."""

from __future__ import annotations

import ssl
from typing import Final

__all__ = ["abort_words", "alert_words", "rejection_words", "result_words"]

_REJECTIONS: Final = {  # PS3.8 table 9-21
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "our AE title is not recognized",
    (1, 7): "its AE title is not the one that was called",
    (2, 1): "no reason given by its ACSE",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
_RESULTS: Final = {  # PS3.8 table 9-18
    1: "rejected by the user",
    2: "no reason",
    3: "abstract syntax not supported",
    4: "transfer syntaxes not supported",
}
_ABORTS: Final = {  # PS3.8 table 9-26
    1: "unrecognized PDU",
    2: "unexpected PDU",
    4: "unrecognized PDU parameter",
    5: "unexpected PDU parameter",
    6: "invalid PDU parameter",
}


def rejection_words(result: int, source: int, reason: int) -> str:
    """Why an association was rejected."""
    how = {1: "permanently", 2: "for now"}.get(result, f"result {result}")
    told = _REJECTIONS.get((source, reason), f"source {source}, reason {reason}")
    return f"{told} ({how})"


def result_words(result: int) -> str:
    """Why a presentation context was not accepted."""
    return _RESULTS.get(result, f"result {result}")


def abort_words(source: int, reason: int) -> str:
    """Who has aborted an association, and why."""
    if source == 2:
        return f"by its service provider: {_ABORTS.get(reason, 'no reason given')}"
    return "by its service user" if source == 0 else f"source {source}"


def alert_words(error: BaseException | None) -> str:
    """What TLS has said before a connection was closed; nothing where it has not said anything."""
    cause = None if error is None else error.__cause__
    reason = getattr(cause, "reason", None) if isinstance(cause, ssl.SSLError) else None
    if not isinstance(reason, str):
        return ""
    told = reason.lower().replace("_", " ")
    asks = "CERTIFICATE" in reason and "ALERT" in reason
    return f" ({told}{': it may ask for a client certificate (ssl_context=)' * asks})"
