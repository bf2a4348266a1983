"""What an archive says it has: patients, studies, series, instances."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..protocols import SeriesSummary

__all__ = ["FoundInstance", "FoundPatient", "FoundSeries", "FoundStudy"]


@dataclass(frozen=True, slots=True)
class FoundPatient:
    """A patient; counts are empty where the archive does not tell them."""

    patient: str = field(repr=False)
    studies: str = ""
    series: str = ""
    instances: str = ""


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """A study."""

    uid: str
    patient: str = field(default="", repr=False)
    accession: str = field(default="", repr=False)
    description: str = ""
    date: str = ""
    modalities: str = ""
    series: str = ""
    instances: str = ""

    def __str__(self) -> str:
        told = f"study {self.uid} of {self.date or 'an unknown date'}"
        return f"{told}: {self.description or '(no description)'} [{self.modalities or '?'}]"


@dataclass(frozen=True, slots=True)
class FoundSeries:
    """A series; ``count`` of instances is None where the archive does not tell it."""

    uid: str
    study: str
    patient: str = field(default="", repr=False)
    number: int | None = None
    description: str = ""
    modality: str = ""
    date: str = ""
    count: int | None = None

    def summary(self) -> SeriesSummary:
        """As an error lists it; how many frames of which size is not known."""
        count = self.count or 0
        told = self.uid, self.number, self.description, self.modality
        return SeriesSummary(*told, count, count, 0, 0)

    def __str__(self) -> str:
        number = "-" if self.number is None else self.number
        count = "?" if self.count is None else self.count
        what = f"{self.description or '(no description)'} [{self.modality or '?'}]"
        return f"{number}: {what} {count} instances, {self.uid}, study {self.study}"


@dataclass(frozen=True, slots=True)
class FoundInstance:
    """An instance; its SOP class is empty where the archive does not tell it."""

    uid: str
    sop_class: str = ""
