"""Items of XNAT in detail: as JSON, as XML, as a page; resources as their catalogues."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from typing import Any, Final, TypeAlias

from ._xnat_archive import Archive
from ._xnat_http import Answer, Refusal, Request, html, json_answer, text
from ._xnat_model import Experiment, Project, Resource, Resources, Scan, Subject
from ._xnat_paths import Found

__all__ = ["catalog_answer", "item_answer"]

Item: TypeAlias = "dict[str, Any]"
_NUMBERS: Final = frozenset({"frames", "xnat_imagescandata_id", "file_count", "file_size"})
_NAMESPACES: Final = (
    'xmlns:xnat="http://nrg.wustl.edu/xnat" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
_ATTRIBUTES: Final = frozenset(
    {"ID", "label", "project", "type", "UID", "modality", "secondary_ID"}
)


def item_answer(archive: Archive, found: Found, request: Request) -> Answer:
    """The last item of a path: a page of HTML, unless JSON or XML is asked for."""
    item = _item(archive, found)
    if request.format == "json":
        return json_answer({"items": [item]})
    if request.format == "xml":
        return text(_xml(item), content_type="text/xml")
    title = escape(str(item["data_fields"].get("label", item["data_fields"].get("ID", ""))))
    return html(200, f"<!DOCTYPE html>\n<html><head><title>{title}</title></head></html>")


def _item(archive: Archive, found: Found) -> Item:
    if found.scans:
        assert found.experiment is not None
        return _scan(found.experiment, found.scans[0])
    if found.experiment is not None:
        return _experiment(found.experiment)
    if found.subject is not None:
        return _subject(archive, found.subject)
    if found.project is None:
        raise Refusal(404)
    return _project(found.project)


def _make(
    xsi_type: str, inserted: datetime, fields: Mapping[str, str], children: Iterable[Item] = ()
) -> Item:
    """An item: without empty fields, its numbers as numbers."""
    data: dict[str, object] = {key: _value(key, value) for key, value in fields.items() if value}
    start = inserted.strftime("%a %b %d %H:%M:%S UTC %Y")
    meta = {"create_event_id": 1, "xsi:type": xsi_type, "isHistory": False, "start_date": start}
    full = [child for child in children if child["items"]]
    return {"children": full, "meta": meta, "data_fields": data}


def _value(key: str, value: str) -> object:
    return int(value) if key in _NUMBERS and value.isdecimal() else value


def _child(field: str, items: Iterable[Item]) -> Item:
    return {"field": field, "items": list(items)}


def _project(project: Project) -> Item:
    fields = {**project.fields, "ID": project.id}
    children = [_child("resources/resource", _resources(project.resources))]
    return _make(project.xsi_type, project.inserted, fields, children)


def _subject(archive: Archive, subject: Subject) -> Item:
    fields = {**subject.fields, **_names(subject)}
    children = [
        _child("experiments/experiment", map(_experiment, archive.experiments_of(subject))),
        _child("resources/resource", _resources(subject.resources)),
        _child("sharing/share", _sharing(subject)),
    ]
    return _make(subject.xsi_type, subject.inserted, fields, children)


def _names(item: Subject | Experiment) -> dict[str, str]:
    return {"ID": item.id, "label": item.label, "project": item.project}


def _sharing(item: Subject | Experiment) -> Iterable[Item]:
    for project, label in item.shares.items():
        yield _make("xnat:projectParticipant", item.inserted, {"project": project, "label": label})


def _experiment(experiment: Experiment) -> Item:
    fields = {**experiment.fields, **_names(experiment), "subject_ID": experiment.subject}
    scans = (_scan(experiment, scan) for scan in experiment.scans.values())
    children = [
        _child("scans/scan", scans),
        _child("resources/resource", _resources(experiment.resources)),
        _child("sharing/share", _sharing(experiment)),
    ]
    return _make(experiment.xsi_type, experiment.inserted, fields, children)


def _scan(experiment: Experiment, scan: Scan) -> Item:
    names = {
        "ID": scan.id,
        "image_session_ID": experiment.id,
        "project": experiment.project,
        "xnat_imagescandata_id": str(scan.number),
    }
    children = [_child("file", _resources(scan.resources))]
    return _make(scan.xsi_type, scan.inserted, {**scan.fields, **names}, children)


def _resources(resources: Resources) -> Iterable[Item]:
    for one in resources.values():
        fields = {
            "label": one.label,
            "format": one.format,
            "content": one.content,
            "file_count": str(len(one.files)),
            "file_size": str(one.size),
            "xnat_abstractresource_id": str(one.number),
        }
        yield _make("xnat:resourceCatalog", datetime.fromtimestamp(0), fields)


# --- XML ------------------------------------------------------------------------------------------


def _xml(item: Item) -> str:
    kind = str(item["meta"]["xsi:type"]).partition(":")[2]
    name = _element_name(kind)
    fields: Mapping[str, object] = item["data_fields"]
    attributes = "".join(
        f' {key}="{escape(str(value))}"' for key, value in fields.items() if key in _ATTRIBUTES
    )
    below = "".join(
        f"<xnat:{key}>{escape(str(value))}</xnat:{key}>"
        for key, value in fields.items()
        if key not in _ATTRIBUTES and key.isidentifier()
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<xnat:{name}{attributes} {_NAMESPACES}>{below}'
        f"{''.join(map(_xml_child, item['children']))}</xnat:{name}>"
    )


def _element_name(kind: str) -> str:
    """The element of a type: Project, Subject, MRSession, MRScan …"""
    modality, _, noun = re.sub("(Session|Scan)?Data$", r" \1", kind).partition(" ")
    if not noun:
        return modality[:1].upper() + modality[1:]
    return (modality.upper() if len(modality) < 4 else modality[:1].upper() + modality[1:]) + noun


def _xml_child(child: Item) -> str:
    outer, _, inner = str(child["field"]).rpartition("/")
    body = "".join(_xml_part(inner, one) for one in child["items"])
    return f"<xnat:{outer}>{body}</xnat:{outer}>" if outer else body


def _xml_part(name: str, item: Item) -> str:
    fields = "".join(
        f' {key}="{escape(str(value))}"'
        for key, value in item["data_fields"].items()
        if key.isidentifier()
    )
    return f'<xnat:{name}{fields} xsi:type="{item["meta"]["xsi:type"]}"/>'


def catalog_answer(resource: Resource) -> Answer:
    """The catalogue of a resource: XML, whatever was asked for."""
    entries = "".join(
        f'<cat:entry URI="{escape(file.path)}" ID="{escape(file.path)}" name="{escape(file.name)}" '
        f'format="{escape(file.format)}" content="{escape(file.content)}" digest="{file.md5}"/>'
        for file in resource.files.values()
    )
    return text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<cat:Catalog '
        f'ID="{escape(resource.label)}" xmlns:cat="http://nrg.wustl.edu/catalog">'
        f"<cat:entries>{entries}</cat:entries></cat:Catalog>",
        content_type="text/xml",
    )
