"""What a ``dicom://`` URL names: an archive, and what is in it. Pure.

``dicom://host[:port]/AET[/patientID[/study[/series[/instance]]]]``; ``dicoms://`` is TLS. Each part
is percent-encoded; ``*`` and ``?`` (written ``%3F``) in patient, study and series are wildcards.
Those that are none are written ``%2A`` and ``%5C%3F``, as :func:`urllib.parse.quote` does with an
asterisk: whoever quotes an ID that others have given cannot be made to ask for all patients.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from urllib.parse import quote, unquote

from ..errors import LocationError
from ._dicom_pattern import is_wild, literal

if TYPE_CHECKING:
    from ..location import Location

__all__ = ["DicomLocation", "Kind", "Name", "parse_dicom_location"]

Kind: TypeAlias = Literal["uid", "accession", "number"]

_PORTS: Final = {"dicom": 104, "dicoms": 2762}  # PS3.8 section 9.1.1, PS3.15 section B.1
# Dots between digits; where there are many of them, letters of scanners that break the rule, too.
_UID: Final = re.compile(r"[0-9*?]+(\.[0-9*?]+)+|[0-2](\.[0-9A-Za-z*?_-]+){4,}")
_NUMBER: Final = re.compile(r"[+-]?[0-9*?]+")
_ASTERISK: Final = re.compile(r"\\?\*")
_BACKSLASH: Final = re.compile(r"\\(?![*?])")  # but those that say that a wildcard is none
_PARTS: Final = ("AE title", "patient ID", "study", "series", "instance")
_LONGEST: Final = 64  # characters of a UID and of LO (PS3.5 table 6.2-1)
_LONGEST_TITLE: Final = 16
_SAFE: Final = "*+,:;=@ -._~!$'()".replace(" ", "")


@dataclass(frozen=True, slots=True)
class Name:
    """How a study or a series is named: by UID or, a study, by accession number, a series, by
    number. A lone ``*`` is a wildcard of a UID.
    """

    text: str
    kind: Kind

    @property
    def wild(self) -> bool:
        """It has wildcards; of a UID or a number the client has to match them itself."""
        return is_wild(self.text)


@dataclass(frozen=True, slots=True)
class DicomLocation:
    """An archive, and a patient, study, series or instance in it; None where the URL ends before.

    Attributes:
        host, port, tls: where the archive is.
        ae_title: its title, to be called.
        patient: Patient ID, perhaps with wildcards.
        study, series: how they are named.
        instance: SOP Instance UID.
    """

    host: str
    port: int
    ae_title: str
    tls: bool = False
    patient: str | None = field(default=None, repr=False)
    study: Name | None = field(default=None, repr=False)
    series: Name | None = None
    instance: str | None = None

    def __str__(self) -> str:
        """The archive's URL; nothing of a patient, nothing of a user."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "dicoms" if self.tls else "dicom"
        return f"{scheme}://{host}:{self.port}/{quote(self.ae_title, safe=_SAFE)}"

    @property
    def level(self) -> Literal["archive", "patient", "study", "series", "image"]:
        """How deep the URL goes."""
        if self.patient is None:
            return "archive"
        if self.study is None:
            return "patient"
        if self.series is None:
            return "study"
        return "series" if self.instance is None else "image"

    @property
    def wild(self) -> bool:
        """Some part has wildcards."""
        named = (self.study, self.series)
        return is_wild(self.patient or "") or any(one is not None and one.wild for one in named)

    @property
    def url(self) -> str:
        """The whole URL, for entries of a listing; it names the patient."""
        names = [None if one is None else one.text for one in (self.study, self.series)]
        given = [part for part in (self.patient, *names, self.instance) if part is not None]
        return "/".join([str(self), *(quote(part, safe=_SAFE) for part in given)])

    def below(
        self,
        *,
        patient: str | None = None,
        study: str | None = None,
        series: str | None = None,
        instance: str | None = None,
    ) -> DicomLocation:
        """The location of something in the archive by its UIDs; an unknown patient is ``*``."""
        return replace(
            self,
            patient=literal(patient or "") or self.patient or "*",
            study=self.study if study is None else Name(study, "uid"),
            series=self.series if series is None else Name(series, "uid"),
            instance=self.instance if instance is None else instance,
        )


def parse_dicom_location(location: Location) -> DicomLocation:
    """Read a ``dicom`` or ``dicoms`` location.

    Raises:
        LocationError: no host or AE title, a part that is empty, too long or of no use in DICOM,
            a series that is neither UID nor number, an instance that is no UID.
    """
    if not location.host:
        raise LocationError(f"a {location.scheme} URL needs a host: {_pattern(location.scheme)}")
    if location.port == 0:
        raise LocationError("port 0 is no port to call")
    title, patient, study, series, instance = _parts(location)
    return DicomLocation(
        location.host,
        location.port or _PORTS[location.scheme],
        title,
        location.scheme == "dicoms",
        patient,
        None if study is None else _named(study, "study"),
        None if series is None else _named(series, "series"),
        None if instance is None else _uid(instance),
    )


def _pattern(scheme: str) -> str:
    return f"{scheme}://host:port/AET/patientID/study/series"


def _parts(location: Location) -> tuple[str, str | None, str | None, str | None, str | None]:
    """The five parts of the path, decoded."""
    given = location.path.removeprefix("/").removesuffix("/").split("/")
    if len(given) > len(_PARTS):
        raise LocationError(f"too many parts: {_pattern(location.scheme)}/instance is the longest")
    if not given[0]:
        raise LocationError(f"no AE title of the archive: {_pattern(location.scheme)}")
    title, *rest = [_decoded(part, what) for part, what in zip(given, _PARTS, strict=False)]
    if len(title) > _LONGEST_TITLE or not title.isascii() or set(title) & set("*?\\"):
        raise LocationError(f"an AE title has at most {_LONGEST_TITLE} characters of ASCII")
    patient, study, series, instance = [*rest, None, None, None, None][:4]
    return title, patient, study, series, instance


def _decoded(part: str, what: str) -> str:
    """One part of the path; what DICOM has no place for is refused, and not repeated."""
    try:
        text = "*".join(map(_unquoted, part.split("*"))).strip(" ")
    except UnicodeDecodeError:
        raise LocationError(f"the {what} in the URL is not UTF-8") from None
    if not text:
        raise LocationError(f"the {what} in the URL is empty (* stands for any)")
    if len(text) - text.count("\\") > _LONGEST:
        raise LocationError(f"the {what} in the URL is longer than {_LONGEST} characters")
    if _BACKSLASH.search(text) or not text.isprintable():
        raise LocationError(f"the {what} in the URL holds a backslash or a control character")
    return text


def _unquoted(part: str) -> str:
    """What stands between asterisks; those that are percent-encoded are no wildcards."""
    return _ASTERISK.sub(r"\\*", unquote(part, errors="strict"))


def _named(text: str, what: Literal["study", "series"]) -> Name:
    """Told by syntax: a UID has dots between digits."""
    if text == "*" or _UID.fullmatch(text):
        return Name(text, "uid")
    if what == "study":
        return Name(text, "accession")
    if not _NUMBER.fullmatch(text):
        raise LocationError("a series is named by its Series Instance UID or its series number")
    return Name(text, "number")


def _uid(text: str) -> str:
    if is_wild(text) or not _UID.fullmatch(text):
        raise LocationError("an instance is named by its SOP Instance UID")
    return text
