"""Entries of vocabularies as bytes, and what tokens without a text are called."""

import pytest
from tokenizers import pre_tokenizers

from serve import entries


def test_every_byte_has_its_byte_level_character() -> None:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    assert sorted(entries.byte_level_bytes("".join(alphabet))) == list(range(256))
    assert entries.byte_level_bytes("ĠaĊ") == b" a\n"


@pytest.mark.parametrize(
    ("entry", "byte"), [("<0x0A>", b"\n"), ("<0xFF>", b"\xff"), ("<0xff>", None), ("<0x0A>x", None)]
)
def test_fallback_bytes(entry: str, byte: bytes | None) -> None:
    assert entries.fallback_byte(entry) == byte


@pytest.mark.parametrize("data", [b" a", "é".encode(), b"\xc3", b"\xf0\x9f"])
def test_a_name_tells_the_bytes(data: bytes) -> None:
    name = entries.name(data)
    assert name is not None and entries.name_bytes(name) == data


def test_nothing_has_no_name() -> None:
    assert entries.name(b"") is None
    assert entries.name_bytes("bytes:x") == b"bytes:x"
