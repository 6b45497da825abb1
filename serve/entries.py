r"""What an entry of a vocabulary stands for, and what to call a token that is no text by itself."""

import re
from functools import lru_cache

_SPACE_MARK = "\u2581"  # SentencePiece's stand-in for a space
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")

#: What the names of parts of characters, and of tokens without a text of their own, begin with.
BYTES_NAME, ID_NAME = "bytes:", "token_id:"
_PART_NAME = re.compile(rf"{BYTES_NAME}((?:\\x[0-9a-f]{{2}})+)")


@lru_cache(maxsize=1)
def _byte_level_table() -> dict[str, int]:
    """GPT-2's map between bytes and printable characters, character to byte.

    Printable Latin-1 bytes stand for themselves, the other 68 take the characters from U+0100 on.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


def byte_level_bytes(entry: str) -> bytes:
    """The bytes of an entry of a byte-level vocabulary."""
    table = _byte_level_table()
    return bytes(table[c] for c in entry if c in table)


def written(entry: str) -> str:
    """An entry with its marks of a space as spaces."""
    return entry.replace(_SPACE_MARK, " ")


def fallback_byte(entry: str) -> bytes | None:
    """The byte of an entry ``<0x0A>``; None for any other."""
    byte = _BYTE_TOKEN.fullmatch(entry)
    return bytes([int(byte.group(1), 16)]) if byte else None


def name(data: bytes) -> str | None:
    """A token's name by its bytes: its text, or ``bytes:`` and the bytes; None: it has none."""
    try:
        return data.decode("utf-8") or None
    except UnicodeDecodeError:
        return BYTES_NAME + "".join(f"\\x{byte:02x}" for byte in data)


def name_bytes(name: str) -> bytes:
    """The bytes of a token of that name, see :meth:`serve.text.TextCodec.names`."""
    part = _PART_NAME.fullmatch(name)
    return bytes.fromhex(part[1].replace("\\x", "")) if part else name.encode("utf-8")
