"""The data model that an XNAT stand-in shows: xnat.xsd, cut down to what it holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ._xnat_tables import Table

__all__ = ["SCHEMAS", "search_elements", "search_fields"]

_MODALITIES: Final = ("mr", "ct", "pet", "us", "cr", "dx", "mg", "nm", "xa", "rf", "opt")
_SCANS_ONLY: Final = ("sr", "seg", "sc", "rtImage")
_HEAD: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<xs:schema targetNamespace="http://nrg.wustl.edu/xnat" '
    'xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xdat="http://nrg.wustl.edu/xdat" '
    'xmlns:xnat="http://nrg.wustl.edu/xnat" elementFormDefault="qualified" '
    'attributeFormDefault="unqualified">\n'
)
_NAMED: Final = (
    '<xs:annotation><xs:appinfo><xdat:element displayIdentifiers="{}"/></xs:appinfo>'
    "</xs:annotation>"
)
_LABELLED: Final = _NAMED.format("label")


def _element(name: str, kind: str, *, many: bool = False) -> str:
    count = ' maxOccurs="unbounded"' if many else ""
    return f'<xs:element name="{name}" type="{kind}" minOccurs="0"{count}/>'


def _list(outer: str, inner: str, kind: str) -> str:
    """An element that holds a list of another."""
    body = _element(inner, kind, many=True)
    return (
        f'<xs:element name="{outer}" minOccurs="0"><xs:complexType><xs:sequence>{body}'
        "</xs:sequence></xs:complexType></xs:element>"
    )


def _type(
    name: str,
    base: str = "",
    elements: Iterable[str] = (),
    attributes: Mapping[str, str] | None = None,
    note: str = "",
) -> str:
    body = f"<xs:sequence>{''.join(elements)}</xs:sequence>" + "".join(
        f'<xs:attribute name="{key}" type="xs:{kind}"/>' for key, kind in (attributes or {}).items()
    )
    if base:
        body = f'<xs:extension base="xnat:{base}">{body}</xs:extension>'
        body = f"<xs:complexContent>{body}</xs:complexContent>"
    return f'<xs:complexType name="{name}">{note}{body}</xs:complexType>\n'


def _texts(*names: str) -> list[str]:
    return [_element(name, "xs:string") for name in names]


def _resources() -> str:
    return _list("resources", "resource", "xnat:abstractResource")


def _base_types() -> Iterable[str]:
    yield _type(
        "abstractResource",
        elements=_texts("note"),
        attributes={"label": "string", "file_count": "integer", "file_size": "long"},
        note=_LABELLED,
    )
    yield _type("resource", "abstractResource", attributes=_formats("URI"))
    yield _type("resourceCatalog", "resource")
    yield _type(
        "projectData",
        elements=[*_texts("name", "description", "keywords"), _resources()],
        attributes={"ID": "string", "secondary_ID": "string"},
    )
    yield _type(
        "subjectData",
        elements=[_resources(), _list("experiments", "experiment", "xnat:subjectAssessorData")],
        attributes={"ID": "string", "group": "string", "project": "string", "label": "string"},
        note=_LABELLED,
    )


def _formats(*more: str) -> dict[str, str]:
    return dict.fromkeys((*more, "format", "content"), "string")


def _session_types() -> Iterable[str]:
    names = dict.fromkeys(("ID", "project", "label", "visit_id"), "string")
    simple = [_element("date", "xs:date"), _element("time", "xs:time"), *_texts("note")]
    yield _type("experimentData", "", [*simple, _resources()], names, _LABELLED)
    yield _type("subjectAssessorData", "experimentData", _texts("subject_ID"))
    yield _type(
        "imageSessionData",
        "subjectAssessorData",
        [_list("scans", "scan", "xnat:imageScanData"), *_texts("scanner", "operator")],
        {"modality": "string", "UID": "string"},
    )
    for kind in (*_MODALITIES, "otherDicom"):
        yield _type(f"{kind}SessionData", "imageSessionData")


def _scan_types() -> Iterable[str]:
    texts = _texts("image_session_ID", "note", "quality", "series_description", "scanner")
    number = _element("frames", "xs:integer")
    files = _element("file", "xnat:abstractResource", many=True)
    names = dict.fromkeys(("ID", "type", "UID", "modality"), "string")
    yield _type("imageScanData", "", [*texts, number, files], names, _NAMED.format("ID"))
    for kind in (*_MODALITIES, *_SCANS_ONLY, "otherDicom"):
        yield _type(f"{kind}ScanData", "imageScanData")


def _schema() -> str:
    tops = "".join(
        f'<xs:element name="{name}" type="xnat:{kind}"/>\n'
        for name, kind in (("Project", "projectData"), ("Subject", "subjectData"))
    )
    body = "".join((*_base_types(), *_session_types(), *_scan_types()))
    return f"{_HEAD}{tops}{body}</xs:schema>\n"


SCHEMAS: Final[Mapping[str, str]] = {"xnat": _schema()}
"""The name of each schema, as ``/xapi/schemas`` lists it, and the schema."""


def search_elements() -> Table:
    """What can be searched, as ``/data/search/elements`` lists it."""
    sessions = [f"xnat:{kind}SessionData" for kind in (*_MODALITIES, "otherDicom")]
    names = ("xnat:projectData", "xnat:subjectData", *sessions)
    rows = [{"ELEMENT_NAME": name, "SECURED": "true"} for name in names]
    return Table(("ELEMENT_NAME", "SINGULAR", "PLURAL", "SECURED", "COUNT"), rows)


def search_fields(name: str) -> Table:
    """The fields that a search for a type can show."""
    rows = [{"FIELD_ID": field, "HEADER": field} for field in ("INSERT_DATE", "INSERT_USER")]
    columns = ("FIELD_ID", "HEADER", "SUMMARY", "TYPE", "REQUIRES_VALUE", "DESC", "SRC")
    return Table(columns, rows if name.startswith("xnat:") else ())
