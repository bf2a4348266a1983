"""Traditional PKWARE encryption (APPNOTE 6.1): weak, and still what ``zip -e`` writes."""

from __future__ import annotations

from functools import cache

__all__ = ["Cipher"]


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
        table.append(value)
    return tuple(table)


@cache
def _key_stream() -> bytes:
    """The key stream's byte for each value of the third key's low 16 bits."""
    return bytes(((key | 2) * ((key | 2) ^ 1) >> 8) & 0xFF for key in range(1 << 16))


class Cipher:
    """Decrypts one member, in order. Pure Python: about 4 MB/s."""

    __slots__ = ("_keys",)

    def __init__(self, password: bytes) -> None:
        self._keys = (0x12345678, 0x23456789, 0x34567890)
        for byte in password:
            self._keys = _stepped(self._keys, byte)

    def decrypt(self, data: bytes) -> bytes:
        """The plain bytes; the keys move on."""
        table, stream = _crc_table(), _key_stream()
        first, second, third = self._keys
        plain = bytearray(data)
        for index, byte in enumerate(data):
            byte ^= stream[third & 0xFFFF]
            plain[index] = byte
            first = (first >> 8) ^ table[(first ^ byte) & 0xFF]
            second = ((second + (first & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
            third = (third >> 8) ^ table[(third ^ (second >> 24)) & 0xFF]
        self._keys = (first, second, third)
        return bytes(plain)


def _stepped(keys: tuple[int, int, int], byte: int) -> tuple[int, int, int]:
    table = _crc_table()
    first, second, third = keys
    first = (first >> 8) ^ table[(first ^ byte) & 0xFF]
    second = ((second + (first & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
    return first, second, (third >> 8) ^ table[(third ^ (second >> 24)) & 0xFF]
