"""What of a tokenizer.json is known of llama.cpp's ways to split text."""

from typing import Any

import pytest

from tools.export import converting

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}


@pytest.mark.parametrize(
    ("splitter", "name"),
    [
        (BYTES, "gpt-2"),
        ({"type": "Sequence", "pretokenizers": [DIGITS, BYTES]}, "smollm"),
        ({"type": "Sequence", "pretokenizers": [BYTES, DIGITS]}, ""),
        (BYTES | {"use_regex": False}, ""),
        ({"type": "Metaspace"}, ""),
        (None, ""),
    ],
)
def test_a_split_is_named_or_unknown(splitter: dict[str, Any] | None, name: str) -> None:
    assert converting.split_of({"pre_tokenizer": splitter}) == name


@pytest.mark.parametrize(
    ("splitter", "bytes_"),
    [
        (BYTES, True),
        ({"type": "Sequence", "pretokenizers": [DIGITS, BYTES]}, True),
        ({"type": "Metaspace"}, False),
        (None, False),
    ],
)
def test_a_byte_level_vocabulary_is_told_by_its_splitter(
    splitter: dict[str, Any] | None, bytes_: bool
) -> None:
    """Not by ``byte_fallback``, which the tokenizer of a base read from a GGUF has set."""
    model = {"type": "BPE", "byte_fallback": True}
    assert converting.is_byte_level({"pre_tokenizer": splitter, "model": model}) is bytes_
