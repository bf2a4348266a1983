"""Which user is negotiated: the one of a netrc file, of auth=, of the URL, or none."""

from __future__ import annotations

import os
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seriesio.errors import TransportError
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.testing import DicomArchive, Identity
from seriesio.transports.dicom import DicomTransport

Asked = list[tuple[bytes, bytes] | None]


@pytest.fixture
def asked() -> Asked:
    """Who wanted an association."""
    return []


def noting(asked: Asked) -> Callable[[Identity | None], bool]:
    def authenticate(who: Identity | None) -> bool:
        asked.append(None if who is None else (who.primary, who.secondary))
        return True

    return authenticate


@pytest.fixture
def archive(asked: Asked) -> Iterator[DicomArchive]:
    with DicomArchive(authenticate=noting(asked)) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The netrc file of the environment, for this host; nobody else may read it."""
    path = tmp_path / "netrc"
    path.write_text(
        "machine 127.0.0.1 login me password right\n"
        "machine 127.0.0.1:1 login other password wrong\n"
        "default login anybody password wrong\n"
    )
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", os.fspath(path))
    return path


async def echo(url: str, **options: Any) -> None:
    await DicomTransport(parse_location(url), Workers(1), **options).echo()


@pytest.mark.usefixtures("file")
async def test_netrc_where_it_is_asked_for(archive: DicomArchive, asked: Asked) -> None:
    """In the clear only if asked for: else nobody is told a password."""
    await echo(archive.url)
    await echo(archive.url, auth="netrc")
    assert asked == [None, (b"me", b"right")]


async def test_netrc_of_the_port(archive: DicomArchive, asked: Asked, file: Path) -> None:
    """An entry for host and port comes before the host's."""
    with file.open("a") as lines:
        lines.write(f"machine 127.0.0.1:{archive.port} login port password too\n")
    await echo(archive.url, auth="netrc")
    assert asked == [(b"port", b"too")]


async def test_no_default_entry(archive: DicomArchive, asked: Asked, file: Path) -> None:
    """Passwords for everybody else do not go to archives."""
    file.write_text("default login anybody password wrong\n")
    await echo(archive.url, auth="netrc")
    assert asked == [None]


async def test_netrc_over_tls(
    asked: Asked, file: Path, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """Over TLS the file serves unasked; what the URL or auth= says comes before it."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", str(key), "-out", str(cert), "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(cert, key)
    trusting = ssl.create_default_context(cafile=cert)
    with DicomArchive(authenticate=noting(asked), ssl_context=ours) as archive:
        await echo(archive.url, ssl_context=trusting)
        await echo(archive.url, ssl_context=trusting, auth=("a", "b"))
        named = archive.url.replace("//", "//u%40h:p%2F1@")
        await echo(named, ssl_context=trusting, auth=("a", "b"))
    assert asked == [(b"me", b"right"), (b"a", b"b"), (b"u@h", b"p/1")]


async def test_netrc_that_others_may_read(archive: DicomArchive, asked: Asked, file: Path) -> None:
    """It is refused, and its passwords are not told."""
    file.chmod(0o644)
    with pytest.raises(TransportError, match="chmod 600") as caught:
        await echo(archive.url, auth="netrc")
    assert asked == []
    assert "right" not in str(caught.value)
