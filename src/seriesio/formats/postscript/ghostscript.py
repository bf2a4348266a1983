"""Ghostscript in a cage: a child process that can only read its input and hand back pages.

A PostScript file is a program, and not one to be trusted. Ghostscript's safer mode keeps it from
files, but leaves it the directory of temporary files, environment variables, time and memory.
Here the directory of temporary files does not exist, the environment is empty but for where fonts
are, files cannot grow (pages come through a pipe), and time and memory end. The limits are set by
the shell that becomes Ghostscript: no Python runs between fork and exec.
"""

from __future__ import annotations

import math
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import DataError, MissingDependencyError, TooLargeError
from ..guest.cancel import canceller

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Ghostscript", "Job"]

_MEMORY: Final = 1 << 30  # bytes of address space, libraries and fonts included
_BITMAP: Final = 200_000_000  # a page up to this size is rendered at once, others in bands
_PULSE: Final = 0.05  # seconds after which a cancelled call ends
_KEPT: Final = 8192  # bytes of what Ghostscript complains
_LINE: Final = 256  # bytes of a line in the header of a page
_SIDE: Final = 1 << 20  # pixels: no page has longer sides

# What Ghostscript needs to find its own files, if it is not installed where it was built for.
_ENVIRONMENT: Final = ("GS_LIB", "GS_FONTPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")

# A limit that is not known here is left out: `-v` on macOS; processes are `-u` in some shells, `-p`
# in others. All are tried in subshells first: where there may be no process, none can be tried.
_CAGE: Final = """
trap '' XFSZ
limits=:
for limit in "-c 0" "-f 0" "-t $1" "-v $2" "-u 0" "-p 0"; do
    (ulimit $limit) 2>/dev/null && limits="$limits; ulimit $limit"
done
eval "$limits"
shift 2
exec "$0" "$@"
"""

# The errors of the language (PostScript Language Reference, section 3.11.1): what else stands
# in a complaint are words of the document.
_ERRORS: Final = re.compile(
    rb"Error: /(configurationerror|dictfull|dictstackoverflow|dictstackunderflow|execstackoverflow"
    rb"|interrupt|invalidaccess|invalidexit|invalidfileaccess|invalidfont|invalidrestore|ioerror"
    rb"|limitcheck|nocurrentpoint|rangecheck|stackoverflow|stackunderflow|syntaxerror|timeout"
    rb"|typecheck|undefined|undefinedfilename|undefinedresource|undefinedresult|unmatchedmark"
    rb"|unregistered|VMerror)\b"
)


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be rendered, and how.

    Attributes:
        name: of the document, for errors.
        folder: a private directory that the child works in; it is left as it is.
        source: the document in it.
        resolution: pixels per inch.
        color: True for red, green, blue; False for grey.
        crop: a page is as large as the bounding box says (EPS).
        timeout: seconds.
    """

    name: str
    folder: Path
    source: Path
    resolution: float
    color: bool
    crop: bool
    timeout: float

    @property
    def channels(self) -> int:
        return 3 if self.color else 1

    def command(self) -> list[str]:
        limits = [str(math.ceil(self.timeout) + 1), str(_MEMORY // 1024)]
        return ["/bin/sh", "-c", _CAGE, _program(), *limits, *self._arguments()]

    def _arguments(self) -> list[str]:
        return [
            *("-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-dNOPROMPT", "-dPDFSTOPONERROR"),
            *(f"-dMaxBitmap={_BITMAP}", "-sBandListStorage=memory", "-sstdout=%stderr"),
            *(f"-sDEVICE={'ppmraw' if self.color else 'pgmraw'}", f"-r{self.resolution:.6f}"),
            *(["-dEPSCrop"] if self.crop else []),
            *("-sOutputFile=-", "-f", str(self.source)),
        ]


def _program() -> str:
    found = shutil.which("gs")
    if found is None:
        raise MissingDependencyError(
            "PostScript and PDF are read by Ghostscript: install it, so that gs is found "
            "(apt install ghostscript, dnf install ghostscript, brew install ghostscript)"
        )
    return found


def _environment(folder: Path) -> dict[str, str]:
    """A document can read all variables, and all files below the temporary directory."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", "TMPDIR": str(folder / "none"), **kept}


class Ghostscript(AbstractContextManager["Ghostscript"]):
    """The running child; at the end of the context it is gone, whatever happened.

    Blocking, for worker threads; cancelling the task that waits for the thread ends it too.

    Raises:
        MissingDependencyError: Ghostscript is not installed.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._check_cancelled = canceller()
        self._deadline = time.monotonic() + job.timeout
        self._complaints, self._error = b"", "unspecified"
        self._ahead = b""  # read from the pipe, but not yet asked for
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            job.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=job.folder,
            env=_environment(job.folder),
            start_new_session=True,
        )
        self._out, self._err = _numbers(self._process)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._selector.register(self._err, selectors.EVENT_READ)

    def __exit__(self, *exception: object) -> None:
        self._selector.close()
        with suppress(ProcessLookupError, PermissionError):  # it has ended already
            os.killpg(self._process.pid, signal.SIGKILL)
        with self._process:  # closes the pipes, waits
            pass

    def pages(self, allowed: Callable[[int, int], Any]) -> Iterator[NDArray[np.uint8]]:
        """The pages, each (rows, columns[, 3]), as they are rendered.

        ``allowed`` is called with rows and columns before a page is read; it raises to stop.

        Raises:
            DataError: the document does not end, or breaks a rule of its language.
            TooLargeError: it needs more memory than there is for it.
        """
        while (size := self._page_size()) is not None:
            allowed(*size)
            shape = (*size, 3) if self._job.color else size
            page = np.empty(shape, np.uint8)
            if self._fill(page.data.cast("B")) < page.nbytes:
                self._finish()
                raise self._damaged("ends within a page")
            yield page
        self._finish()

    # --- pages in the pipe (netpbm's raw formats) ---------------------------------------------

    def _page_size(self) -> tuple[int, int] | None:
        """(rows, columns) of the next page; None at the end."""
        magic = self._line()
        if not magic:
            return None
        while (line := self._line()).startswith(b"#"):
            pass
        words = [*line.split(), *self._line().split()]
        if magic != (b"P6" if self._job.color else b"P5") or not all(map(bytes.isdigit, words)):
            raise self._damaged("Ghostscript hands back something else than pages")
        if len(words) != 3 or words[2] != b"255":
            raise self._damaged("Ghostscript hands back pages of an unknown kind")
        columns, rows = int(words[0]), int(words[1])
        if not (0 < columns <= _SIDE and 0 < rows <= _SIDE):
            raise TooLargeError(f"{self._job.name}: has a page of {columns}x{rows} pixels")
        return rows, columns

    def _line(self) -> bytes:
        """A line of a page's header without its end; empty at the end of the pipe."""
        while b"\n" not in self._ahead and len(self._ahead) <= _LINE:
            piece = bytearray(_LINE)
            count = self._receive(memoryview(piece))
            if not count:
                return b""
            self._ahead += piece[:count]
        line, _, self._ahead = self._ahead.partition(b"\n")
        return line

    def _fill(self, view: memoryview) -> int:
        """How many bytes could be read; less only at the end of the pipe."""
        done = min(len(self._ahead), view.nbytes)
        view[:done], self._ahead = self._ahead[:done], self._ahead[done:]
        while done < view.nbytes and (count := self._receive(view[done:])):
            done += count
        return done

    # --- waiting ------------------------------------------------------------------------------

    def _receive(self, view: memoryview) -> int:
        """Bytes out of the pipe of pages; 0 at its end. Complaints are taken off meanwhile."""
        while True:
            ready = self._ready()
            if self._err in ready:
                self._listen()
            if self._out in ready:
                return os.readv(self._out, [view])

    def _ready(self) -> list[int]:
        """The pipes that can be read; none after a pulse."""
        self._check_cancelled()
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._late()
        return [key.fd for key, _ in self._selector.select(min(left, _PULSE))]

    def _listen(self) -> None:
        told = os.read(self._err, _KEPT)
        if not told:
            self._selector.unregister(self._err)
        self._complaints = (self._complaints + told)[-_KEPT:]
        if found := _ERRORS.search(self._complaints):  # kept: long stacks may follow it
            self._error = found[1].decode()

    def _finish(self) -> None:
        """Wait for the end; raises where it was no good one."""
        self._selector.unregister(self._out)
        while self._selector.get_map():
            if self._ready():
                self._listen()
        while self._process.poll() is None:
            self._ready()
        if self._process.returncode:
            raise self._failure(self._process.returncode)

    # --- what went wrong ----------------------------------------------------------------------

    def _damaged(self, what: str) -> DataError:
        return DataError(f"{self._job.name}: {what}")

    def _late(self) -> DataError:
        return self._damaged(
            f"was not rendered within {self._job.timeout:g} s, and was stopped "
            "(timeout= gives it longer)"
        )

    def _failure(self, code: int) -> DataError:
        """By the name of the error alone: complaints quote the document."""
        if code < 0:
            name = signal.Signals(-code).name
            return self._late() if name == "SIGXCPU" else self._damaged(f"ended by {name}")
        if self._error == "VMerror":
            return TooLargeError(f"{self._job.name}: needs more than {_MEMORY >> 20} MiB to render")
        if self._error == "invalidfileaccess":
            return self._damaged("was stopped: it wants to reach files")
        return self._damaged(f"cannot be rendered: Ghostscript reports the error {self._error!r}")


def _numbers(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """The descriptors of the two pipes."""
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdout.fileno(), process.stderr.fileno()
