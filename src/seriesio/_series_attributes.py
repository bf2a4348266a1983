"""DICOM keywords as attributes of a series."""

from __future__ import annotations

from typing import Any

from ._series_volume import SeriesVolume
from .dicom.hints import hint_for
from .dicom.keywords import camel_case, keyword_for, tag_for
from .errors import HeaderError

__all__ = ["SeriesAttributes"]


class SeriesAttributes(SeriesVolume):
    """Any DICOM keyword is an attribute, in camelCase or as DICOM spells it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or tag_for(name) is None:
            raise self._no_attribute(name)
        missing = object()
        value = self.header.get(name, missing)
        if value is missing:
            raise AttributeError(self.header.why_missing(name), name=name, obj=self)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            raise AttributeError(f"{name!r} cannot be set", name=name, obj=self)
        if tag_for(name) is None:
            raise self._no_attribute(name)
        self.header.set(name, value)

    def __delattr__(self, name: str) -> None:
        if tag_for(name) is None:
            raise self._no_attribute(name)
        if name not in self.header:
            raise AttributeError(f"the series has no attribute {name!r}", name=name, obj=self)
        try:
            self.header.delete(name)
        except HeaderError as error:
            raise AttributeError(str(error), name=name, obj=self) from error

    def __dir__(self) -> list[str]:
        """With the DICOM attributes that the first instance has."""
        return sorted({*super().__dir__(), *self._attributes()})

    def _attributes(self) -> list[str]:
        if not len(self.header):
            return []
        keywords = map(keyword_for, self.header.instances[0].raw.layout.tags)
        names = [camel_case(keyword) for keyword in keywords if keyword.isidentifier()]
        return [name for name in names if name in self.header]

    def _no_attribute(self, name: str) -> AttributeError:
        hint = "" if name.startswith("_") else hint_for(name)
        kind = type(self).__name__
        return AttributeError(f"{kind!r} object has no attribute {name!r}{hint}")
