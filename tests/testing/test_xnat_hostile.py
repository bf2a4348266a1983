"""The XNAT stand-in before requests of all kinds: an answer for each, never an exception."""

from __future__ import annotations

import io
import zipfile
from collections.abc import MutableMapping
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from seriesio.testing import XnatServer, phantom

WORDS = (
    *("data", "REST", "archive", "xapi", "projects", "P", "subjects", "S", "experiments", "E"),
    *("scans", "4", "*", "ALL", "resources", "DICOM", "files", "a", "..", "%2e%2e", "%00", ""),
    *("services", "import", "auth", "prearchive", "JSESSION", "search", "elements", "%ff", "é"),
    *("tokens", "issue", "delete", "siteConfig", "buildInfo", "schemas", "99", "[SLASH]", "%25"),
)
KEYS = (
    *("format", "columns", "limit", "offset", "xsiType", "inbody", "extract", "overwrite", "dest"),
    *("src", "action", "label", "compression", "all", "project", "ID", "xnat:mrScanData/type"),
)
VALUES = (
    "",
    "json",
    "zip",
    "csv",
    "xml",
    "html",
    "true",
    "-1",
    "٣",
    "xnat:mrScanData",
    "*",
    "[",
    "%",
)
TYPES = (
    *("application/zip", "application/x-tar", "multipart/form-data; boundary=b", "text/plain"),
    *(
        "multipart/form-data",
        "multipart/form-data; boundary*=x''%ff",
        "",
        "\xff/;;=",
        "application/x-gzip",
    ),
)
PREFIXES = (
    *("", "/data/projects/P", "/data/projects/P/subjects/S/experiments/E", "/data/services"),
    *("/data/prearchive/projects", "/data/services/import", "/xapi"),
    "/data/projects/P/subjects/S/experiments/E/scans/4/resources/R/files/up.zip",
)


def archive_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


BODIES = (
    *(b"", b"\r\n", b"--b\r\n\r\n", b"username=admin&password=admin", bytes(600)),
    b'--b\r\nContent-Disposition: form-data; filename="../x"\r\n\r\ndata\r\n--b--',
    b"--b\r\nContent-Disposition: form-data; filename*=utf-9''%ff\r\n\r\ndata\r\n--b--",
    archive_of({"a.dcm": next(iter(phantom((1, 4, 4)).files().values())), "b": b"text"}),
)


async def ask(
    server: XnatServer,
    method: str,
    path: str,
    query: str = "",
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
) -> int:
    """One request in bare ASGI; its status."""
    sent: list[MutableMapping[str, Any]] = []
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if pending:
            return pending.pop()
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    basic = ("authorization", "Basic YWRtaW46YWRtaW4=")
    raw = [(key.encode(), value.encode("latin-1")) for key, value in (basic, *headers)]
    scope = {
        **{"type": "http", "method": method, "path": path, "raw_path": path.encode()},
        **{"query_string": query.encode(), "headers": raw, "scheme": "http"},
    }
    await server(scope, receive, send)
    assert sent[-1].get("more_body") is False
    for _, value in sent[0]["headers"]:
        assert not {b"\r", b"\n", b"\0"} & {bytes([one]) for one in value}
    return int(sent[0]["status"])


def made() -> XnatServer:
    server = XnatServer(upload_limit=1 << 16, max_sessions=1 << 30)
    server.add_scan("P", "S", "E", "4", {"a": b"one", "\n\x00/..": b""}, type="T1")
    return server


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "BREW"]),
    st.sampled_from(PREFIXES),
    st.lists(st.sampled_from(WORDS), max_size=12),
    st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)), max_size=4),
    st.sampled_from(TYPES),
    st.sampled_from(BODIES),
)
def test_every_request_has_an_answer(
    method: str,
    prefix: str,
    words: list[str],
    pairs: list[tuple[str, str]],
    kind: str,
    body: bytes,
) -> None:
    """Any path of known words, any query and body: a status of HTTP, and clean headers."""
    server = made()
    query = "&".join(f"{key}={value}" for key, value in pairs)
    headers = (("content-type", kind), ("content-length", str(len(body))))
    path = prefix + "".join(f"/{word}" for word in words) or "/"
    status = anyio.run(ask, server, method, path, query, headers, body)
    assert 200 <= status < 600
    assert server.requests[-1].status == status


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["up.zip", "up.tar", "up.tgz"]),
    st.integers(0, 400),
    st.binary(max_size=40),
    st.booleans(),
)
def test_damaged_archives_are_errors(name: str, place: int, damage: bytes, cut: bool) -> None:
    """A zip with bytes overwritten, or cut: unpacked, or answered with an error."""
    server = made()
    whole = archive_of({"d/n": bytes(200), "m": b"x" * 50})
    data = whole[:place] + damage + (b"" if cut else whole[place + len(damage) :])
    path = f"/data/projects/P/subjects/S/experiments/E/scans/4/resources/R/files/{name}"
    headers = (("content-length", str(len(data) or 1)),)
    status = anyio.run(ask, server, "PUT", path, "inbody=true&extract=true", headers, data)
    assert status in {200, 413, 500}
