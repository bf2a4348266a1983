"""What is to be placed, in pieces that a thread takes at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ..offload import shares

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..dicom.plan import Plan

__all__ = ["Job", "jobs_for"]

_JOB_BYTES: Final = 4 << 20  # read, then computed on with single calls while in the cache
_LAST_BYTES: Final = 2 << 20  # towards the end


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Frames of one instance and the slots they go to, in the order of the frames."""

    instance: int
    frames: tuple[int, ...]
    slots: tuple[int, ...]
    first: bool  # the instance's first job also takes what lies behind its pixels


def jobs_for(plan: Plan, sequential: Sequence[bool]) -> list[list[Job]]:
    """All slots of a plan as jobs, in batches of some megabytes, in the order of the slots."""
    frame_bytes = max(int(np.prod(plan.frame_shape)) * plan.values.dtype.itemsize, 1)
    per_job = max(_JOB_BYTES // frame_bytes, 1)
    if not plan.frames.multiframe:
        owners = plan.slots[:, 0].tolist()
        single = [Job(owner, (0,), (slot,), True) for slot, owner in enumerate(owners)]
        parts = shares(len(single), per_job, _LAST_BYTES // frame_bytes)
        return [single[part.start : part.stop] for part in parts]
    return _jobs_of_frames(plan, sequential, per_job)


def _jobs_of_frames(plan: Plan, sequential: Sequence[bool], per_job: int) -> list[list[Job]]:
    order = np.lexsort((plan.slots[:, 1], plan.slots[:, 0]))
    instances = plan.slots[order, 0]
    starts = np.flatnonzero(np.diff(instances, prepend=-1))
    ends = np.append(starts[1:], len(order))
    groups = sorted(
        (tuple(order[start:end].tolist()) for start, end in zip(starts, ends, strict=True)),
        key=min,
    )
    owners, numbers = plan.slots[:, 0].tolist(), plan.slots[:, 1].tolist()
    batches: list[list[Job]] = [[]]
    filled = 0
    for slots in groups:
        instance = owners[slots[0]]
        step = len(slots) if sequential[instance] else per_job
        for start in range(0, len(slots), step):
            part = slots[start : start + step]
            if filled + len(part) > per_job and batches[-1]:
                batches.append([])
                filled = 0
            batches[-1].append(Job(instance, tuple(numbers[s] for s in part), part, start == 0))
            filled += len(part)
    return batches
