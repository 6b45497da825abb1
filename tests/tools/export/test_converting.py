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
