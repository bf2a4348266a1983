"""Private elements as scanners write them, to make headers as long as real ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydicom.dataelem import DataElement

from ._phantom_spec import Spec, ds, uid

__all__ = ["padding", "varying_padding"]

_GROUPS = (0x0009, 0x0019, 0x0021, 0x0027, 0x0043, 0x0045, 0x0051, 0x7053)
_BULK_GROUP = 0x0029
_PER_BLOCK = 0xEF  # elements that one private creator can own
_SMALL = ("LO", "DS", "IS", "SH", "US", "UL", "FD", "SL", "UI", "CS", "TM", "SS", "FL", "DA", "LT")

# A value of each VR, made from a random number below 2**20.
_VALUES: dict[str, Callable[[int], object]] = {
    "LO": lambda n: f"phantom {'parameter ' * (n % 4)}{n}",
    "DS": lambda n: [ds(n / 1000), ds(-n / 7)][: 1 + n % 2],
    "IS": lambda n: str(n),
    "SH": lambda n: f"v{n % 1000}",
    "US": lambda n: n % 65536,
    "UL": lambda n: [n, n // 2, n // 3][: 1 + n % 3],
    "FD": lambda n: n / 3,
    "SL": lambda n: -n,
    "UI": lambda n: f"1.2.826.0.1.3680043.8.498.{n}.{n % 97}",
    "CS": lambda n: ["ORIGINAL", "PRIMARY", "AXIAL"][: 1 + n % 3],
    "TM": lambda n: f"{n % 24:02d}{n % 60:02d}{n % 59:02d}",
    "SS": lambda n: -(n % 32768),
    "FL": lambda n: float(np.float32(n / 16)),
    "DA": lambda n: f"20{n % 20:02d}{1 + n % 12:02d}{1 + n % 28:02d}",
    "LT": lambda n: f"free text {n} " * (1 + n % 5),
}


def _bulk(length: int, rng: np.random.Generator) -> bytes:
    """Records of a name, a few numbers and zeros, like the protocol dumps of real scanners."""
    records = np.zeros((length // 64 + 1, 64), np.uint8)
    records[:, :16] = np.frombuffer(b"phantom.sequence", np.uint8)
    records[:, 24:40] = rng.integers(0, 256, (len(records), 16))
    return records.tobytes()[: length - length % 2]


def _small(count: int, rng: np.random.Generator) -> list[DataElement]:
    """``count`` elements, private creators among them."""
    elements: list[DataElement] = []
    per_group = min(-(-count // len(_GROUPS)), _PER_BLOCK + 1)
    for number in range(count):
        block, place = divmod(number, per_group)
        group, owner = _GROUPS[block % len(_GROUPS)], 0x10 + block // len(_GROUPS)
        if place == 0:
            elements.append(DataElement((group, owner), "LO", f"SERIESIO PHANTOM {owner:02X}"))
            continue
        vr = _SMALL[(place + block) % len(_SMALL)]
        value = _VALUES[vr](int(rng.integers(0, 1 << 20)))
        elements.append(DataElement((group, (owner << 8) + place), vr, value))
    return elements


def _encoded_length(element: DataElement) -> int:
    """About the bytes that it takes in a file, header and padding included."""
    sizes = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8}
    values = element.value if element.VM > 1 else [element.value]
    if element.VR in sizes:
        return 8 + sizes[element.VR] * len(values)
    length = sum(len(str(value)) for value in values) + len(values) - 1
    return 8 + length + length % 2


def padding(spec: Spec) -> list[DataElement]:
    """``header_elements`` elements of ``header_bytes`` bytes together, equal in all instances.

    Bytes that small elements do not take are put into two large ones.
    """
    if not spec.header_elements and not spec.header_bytes:
        return []
    rng = np.random.default_rng([spec.seed, 1])
    bulky = spec.header_bytes > 0
    elements = _small(max(spec.header_elements - 3 * bulky, 0), rng)
    left = spec.header_bytes - sum(map(_encoded_length, elements)) - 26 - 2 * 12
    if not bulky:
        return elements
    large = max(left, 0) * 2 // 3
    elements.append(DataElement((_BULK_GROUP, 0x10), "LO", "SERIESIO PHANTOM 29"))
    for number, length in ((0x1010, large), (0x1020, max(left, 0) - large)):
        elements.append(DataElement((_BULK_GROUP, number), "OB", _bulk(length, rng)))
    return elements


def varying_padding(spec: Spec, elements: list[DataElement], instance: int) -> list[DataElement]:
    """Those of ``elements`` that differ from instance to instance, in value and in length."""
    choice = [e for e in elements if e.VR in ("DS", "UI", "LO") and e.tag.element > 0xFF][:6]
    mixed = 7919 * (instance + 1) % 1_000_003
    makers: dict[str, Callable[[], object]] = {
        "DS": lambda: ds(mixed / 10 ** (instance % 5)),
        "UI": lambda: f"{uid(spec.seed, 'padding', length=30)}.{instance + 1}",
        "LO": lambda: f"instance {'x' * (instance % 9)}",
    }
    return [DataElement(e.tag, e.VR, makers[e.VR]()) for e in choice]
