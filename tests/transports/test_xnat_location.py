"""What xnat:// URLs mean, and when to ask a server again; both pure."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from seriesio.errors import LocationError
from seriesio.location import parse_location
from seriesio.transports._http_retry import Retry, retry_after
from seriesio.transports._xnat_location import place_of


@pytest.mark.parametrize(
    ("url", "origin", "parts"),
    [
        ("xnat://h/P/S/E/4", "https://h", ("P", "S", "E", "4")),
        ("xnat://h/P/S/E/", "https://h", ("P", "S", "E")),
        ("xnat://h", "https://h", ()),
        ("xnat+http://h:8080/P", "http://h:8080", ("P",)),
        ("xnat://h:443/P", "https://h", ("P",)),
        ("xnat+http://[::1]:80/P", "http://[::1]", ("P",)),
        ("xnat://h/P/S%201/E/T1%20mprage%2a", "https://h", ("P", "S 1", "E", "T1 mprage*")),
        ("xnat://h/P/S 1/E/ä", "https://h", ("P", "S 1", "E", "ä")),
    ],
)
def test_urls(url: str, origin: str, parts: tuple[str, ...]) -> None:
    """Scheme, host, port and decoded parts."""
    place = place_of(parse_location(url))
    assert (place.origin, place.parts, place.context) == (origin, parts, None)


def test_context_from_the_number_of_parts() -> None:
    """More parts than a scan has can only be a context path."""
    place = place_of(parse_location("xnat://h/apps/xnat/P/S/E/4"))
    assert (place.context, place.parts) == ("/apps/xnat", ("P", "S", "E", "4"))
    assert place.candidates() == [place]


@pytest.mark.parametrize("url", ["xnat://h/xnat/P/S", "xnat://h/P/S"])
def test_context_that_is_given(url: str) -> None:
    """A context that is given may stand in the URL too, and is no part."""
    place = place_of(parse_location(url), "/xnat")
    assert (place.context, place.parts) == ("/xnat", ("P", "S"))
    assert str(place) == "xnat://h/xnat/P/S"


def test_no_context_that_is_given() -> None:
    """An empty context is an answer, too: then too many parts are an error."""
    assert place_of(parse_location("xnat://h/P/S"), "").candidates()[0].context == ""
    with pytest.raises(LocationError, match="more parts"):
        place_of(parse_location("xnat://h/a/P/S/E/4"), "")


def test_context_that_the_server_has_to_tell() -> None:
    """Else both readings are candidates, the plain one first."""
    plain, other = place_of(parse_location("xnat://h/xnat/P/S")).candidates()
    assert (plain.context, plain.parts) == ("", ("xnat", "P", "S"))
    assert (other.context, other.parts) == ("/xnat", ("P", "S"))


@pytest.mark.parametrize("path", ["/P//E", "/P/../E", "/P/%2e%2e", "/P/a%2Fb", "/P/a%00", "/ "])
def test_refused_parts(path: str) -> None:
    """Empty parts, and those that would lead elsewhere on the server."""
    with pytest.raises(LocationError):
        place_of(parse_location("xnat://h" + path))


def test_no_host() -> None:
    """A URL without a server."""
    with pytest.raises(LocationError, match="no server"):
        place_of(parse_location("xnat:///P/S"))


def test_no_credentials_are_shown() -> None:
    """User and password of a URL stand in no text of it."""
    place = place_of(parse_location("xnat://user:secret@h/P"))
    assert "secret" not in repr(place) + str(place)


def test_delays() -> None:
    """Doubled each time up to a bound, spread by luck, none after the last attempt."""
    retry = Retry(attempts=4, base=1.0, most=3.0)
    assert [retry.delay(n, None, 1.0) for n in (1, 2, 3, 4)] == [1.0, 2.0, 3.0, None]
    assert [retry.delay(n, None, 0.0) for n in (1, 2, 3)] == [0.5, 1.0, 1.5]


def test_what_a_server_asks_for() -> None:
    """Retry-After is honoured, spread a little, unless it is beyond all patience."""
    retry = Retry(base=1.0, patience=60.0)
    assert retry.delay(1, 7.0, 0.0) == 7.0
    assert retry.delay(1, 7.0, 0.5) == 7.5
    assert retry.delay(1, 61.0, 0.0) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 0 ", 0.0),
        ("9" * 400, 999_999_999.0),
        ("-3", None),
        ("soon", None),
        ("1e3", None),
        (formatdate(1_000_030, usegmt=True), 30.0),
        (formatdate(999_000, usegmt=True), 0.0),
        ("Wed, 99 Foo 2024 99:99:99 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Seconds or a date (RFC 9110 section 10.2.3); anything else is nothing."""
    assert retry_after(value, 1_000_000.0) == seconds
