"""What an XNAT stand-in can be told to do wrong."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["XnatFaults"]


@dataclass(frozen=True, slots=True)
class XnatFaults:
    """Misbehaviour of an :class:`XnatServer`; none by default, changeable while it runs.

    Logging in and out (``/data/JSESSION``, ``/data/auth``, ``/data/services/auth``) is spared by
    all but :attr:`delay`, unless :attr:`paths` asks for it.
    """

    paths: str = ""
    """Only requests in whose method, path and query ("GET /data/projects?format=json") this
    regular expression is found; "": all."""
    times: int | None = None
    """How many requests are hit, before all is well again; None: all of them."""
    delay: float = 0.0
    """Seconds before each answer begins."""

    # --- instead of an answer -----------------------------------------------------------------
    status: int | None = None
    """This status (401, 403, 404, 409, 422, 429, 500, 503 …) with a page of HTML."""
    retry_after: str | None = None
    """The header Retry-After beside it: seconds, or a date."""
    login_page: bool = False
    """The page to log in at, in HTML, with status 200."""
    other_json: bool = False
    """JSON of another shape, with status 200."""
    redirect: str | None = None
    """302 to this URL with the path of the request behind it: another host, for example."""
    ignore_writes: bool = False
    """PUT, POST and DELETE are answered with 200 and an empty body, and nothing is done."""

    # --- sessions -----------------------------------------------------------------------------
    expire_after: int | None = None
    """A session is dead after so many requests."""
    password_expired: bool = False
    """Whoever logs in is told that the password has expired: 403."""

    # --- on the wire --------------------------------------------------------------------------
    cut_after: int | None = None
    """The connection is cut after so many bytes of the body of the answer."""
    cut_upload_after: int | None = None
    """The connection is cut after so many bytes of the body of the request; nothing is done."""
    swallow_limit: int | None = None
    """If more bytes than these of a refused upload are unread, the connection is closed right
    after the answer, as Tomcat does (maxSwallowSize, 2 MB): the answer may never be seen."""
    lose_answer: bool = False
    """What was asked for is done, but the connection is cut before the answer."""
    drip: float | None = None
    """Seconds before each piece of a body."""
    drip_bytes: int = 1
    """Bytes of such a piece."""
    stall_after: int | None = None
    """After so many bytes of the body nothing comes any more, for :attr:`stall` seconds."""
    stall: float = 3600.0
    endless: bool = False
    """The last piece of a body is repeated for ever."""

    # --- what catalogues and zips say ---------------------------------------------------------
    truncate_zip: int | None = None
    """Zips lack so many bytes at their end, but the answer ends as if all were well."""
    zip_bomb: int = 0
    """So many zero bytes follow the data of each member of a zip."""
    count_offset: int = 0
    """Added to each ``file_count``."""
    size_offset: int = 0
    """Added to each size of a file that is listed."""
    missing_files: int = 0
    """So many files of each resource are listed, but are not there."""
    wrong_digests: bool = False
    """Digests that are listed are those of other data."""
    no_digests: bool = False
    """As with checksums switched off: each digest is ""."""
    no_counts: bool = False
    """``file_count`` and ``file_size`` of resources are ""."""
    late_scans: int = 0
    """Scans appear late: each is not seen by the first so many requests that ask for it."""
