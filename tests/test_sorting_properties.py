"""Phantoms with random axes, orders, jitter, missing or doubled instances.

The plan is right, or the error names exactly what was taken away.
"""

from __future__ import annotations

import random
import re
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from seriesio.dicom.options import PlanOptions
from seriesio.dicom.part10 import parse
from seriesio.dicom.plan import Plan, plan_series
from seriesio.dicom.table import HeaderGroup, HeaderTable
from seriesio.errors import IncompleteSeriesError
from seriesio.testing import Phantom, phantom

NAMES = ("time", "b", "te", "ti", "fa", "tr")
PLANES = ((1, 0, 0, 0, 1, 0), (0.8, 0.6, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1))
Kind = tuple[tuple[str, ...], tuple[int, ...], tuple[float, ...]]
SEEDS = st.integers(0, 99)
KEYWORDS = {
    "b": "DiffusionBValue",
    "te": "EchoTime",
    "fa": "FlipAngle",
    "ti": "InversionTime",
    "tr": "RepetitionTime",
    "time": "Time",
}


@cache
def made(axes: tuple[str, ...], shape: tuple[int, ...], plane: tuple[float, ...]) -> Phantom:
    return phantom(
        (*shape, 4, 4),
        axes=(*axes, "slice", "row", "column"),
        orientation=plane,
        modality="MR",
    )


@st.composite
def series(draw: st.DrawFn, names: tuple[str, ...] = NAMES) -> Kind:
    """What :func:`made` makes a phantom of 2 to 4 slices with up to two further axes of."""
    axes = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    axes.sort(key=NAMES.index)
    shape = (*(draw(st.integers(2, 3)) for _ in axes), draw(st.integers(2, 4)))
    return tuple(axes), shape, draw(st.sampled_from(PLANES))


@cache
def headers(source: Phantom) -> list[HeaderGroup]:
    """What the files of a phantom hold, in sorted order."""
    return [grouped(source.files()[name]) for name in source.names]


def jittered(datasets: list[Dataset], seed: int) -> None:
    """Positions and cosines off by less than the tolerances."""
    rng = np.random.default_rng(seed)
    for dataset in datasets:
        for keyword, width in (("ImagePositionPatient", 2e-3), ("ImageOrientationPatient", 2e-4)):
            exact = np.array(dataset[keyword].value, float)
            moved = exact + rng.uniform(-width, width, len(exact))
            setattr(dataset, keyword, [f"{number:.7f}" for number in moved])


def grouped(data: bytes) -> HeaderGroup:
    return HeaderGroup.single(parse(memoryview(data), len(data), "x").header)


def encoded(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def planned(groups: list[HeaderGroup], order: Any, **options: Any) -> tuple[Plan, list[int]]:
    """The plan of instances in an order, and which of them is in each slot."""
    table = HeaderTable([groups[place] for place in order])
    plan = plan_series(table, PlanOptions(**options))
    return plan, [order[owner] for owner in plan.slots[:, 0].tolist()]


@settings(max_examples=20, deadline=None)
@given(kind=series(), shuffle=SEEDS, seed=st.integers(0, 99))
def test_whole(kind: Kind, shuffle: int, seed: int) -> None:
    """Every order of the files, every jitter within the tolerances: the same, right grid."""
    source = made(*kind)
    datasets = source.datasets()
    jittered(datasets, seed)
    groups = [grouped(encoded(dataset)) for dataset in datasets]
    order = random.Random(shuffle).sample(range(len(groups)), len(groups))
    further = source.axes[:-3]
    for input_order in ("auto", ",".join(further)) if further else ("auto",):
        plan, slots = planned(groups, order, input_order=input_order)
        assert slots == list(range(len(datasets)))
        assert plan.shape == source.shape
        assert tuple(axis.name for axis in plan.axes) == source.axes
        for axis in plan.axes[: len(further)]:
            wanted = np.array(source.values[axis.name])
            assert np.allclose(axis.values - axis.values[0], wanted - wanted[0])
        assert np.allclose(plan.geometry.affine, source.affine, atol=0.02)


@settings(max_examples=60, deadline=None)
@given(kind=series(), drawn=st.integers(0, 10_000), shuffle=SEEDS)
def test_one_missing(kind: Kind, drawn: int, shuffle: int) -> None:
    """The error names the position, and of one further axis the value, of what was removed."""
    source = made(*kind)
    datasets = headers(source)
    gone = drawn % len(datasets)
    slices, volumes = source.shape[-3], len(datasets) // source.shape[-3]
    kept = [place for place in range(len(datasets)) if place != gone]
    random.Random(shuffle).shuffle(kept)
    where = gone % slices
    location = source.affine[:3, 2] * where + source.affine[:3, 3]
    normal = np.cross(source.affine[:3, 0], source.affine[:3, 1])
    height = round(float(location @ normal / np.linalg.norm(normal)), 6) + 0.0
    try:
        _, slots = planned(datasets, kept)
    except IncompleteSeriesError as error:
        told = error.missing
    else:
        assert volumes == 1  # what is left of it is a stack, too
        assert where in (0, slices - 1) or slices == 3
        assert slots == [place for place in range(len(datasets)) if place != gone]
        return
    if volumes == 1:
        assert [re.findall(r"-?[\d.]+", text)[0] for text in told] == [f"{height:.4g}"]
        return
    assert all(f"position {height:.4g} mm" in text for text in told if text[0] == "p")
    if len(source.axes) == 4 and volumes > 1 and slices > 2:
        name = source.axes[0]
        value = source.values[name][gone // slices]
        named = [text for text in told if not text.startswith("position")]
        assert len(named) == 1
        assert KEYWORDS[name] in named[0]
        assert name == "time" or re.search(rf" {value:.10g} at position", named[0])
        assert named[0].endswith(f"at position {height:.4g} mm")


@settings(max_examples=20, deadline=None)
@given(kind=series(), drawn=st.integers(0, 10_000))
def test_one_doubled(kind: Kind, drawn: int) -> None:
    """The error names the instance that came twice; with "warn" it counts once."""
    source = made(*kind)
    groups = headers(source)
    twice = drawn % len(groups)
    uid = source.datasets()[twice].SOPInstanceUID
    doubled = [*groups, groups[twice]]
    with pytest.raises(IncompleteSeriesError) as caught:
        planned(doubled, range(len(doubled)))
    assert f"instance {uid} came 2 times" in caught.value.missing
    plan, slots = planned(doubled, range(len(doubled)), warn=True)
    assert slots == list(range(len(groups)))
    assert plan.shape == source.shape


@settings(max_examples=60, deadline=None)
@given(
    kind=series(("time", "b", "te", "fa")), gone=st.sets(st.integers(0, 35), min_size=1, max_size=8)
)
def test_what_is_left_is_never_mixed(kind: Kind, gone: set[int]) -> None:
    """With "warn": every volume that is opened is a volume of the whole series, slice by slice."""
    source = made(*kind)
    datasets = headers(source)
    slices = source.shape[-3]
    kept = [place for place in range(len(datasets)) if place not in gone]
    if len(kept) < 2:
        return
    try:
        plan, slots = planned(datasets, kept, warn=True)
    except IncompleteSeriesError:
        return
    grid = np.array(slots).reshape(-1, plan.shape[-3])
    for volume in grid:
        assert len({place // slices for place in volume.tolist()}) == 1
        assert (np.diff(volume % slices) > 0).all()
    assert (grid % slices == grid[0] % slices).all()
