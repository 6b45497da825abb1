"""Stand-in until serve.text tells trail, mask_id and never_answered itself."""

from typing import Any


def framed(text: Any) -> Any:
    if hasattr(text, "trail"):
        return text
    tokenizer = text._tokenizer
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.encode("a", add_special_tokens=True).ids
    text.trail = tuple(full[full.index(bare[0]) + len(bare) :])
    ids = [tokenizer.token_to_id(name) for name in ("<mask>", "[MASK]")]
    text.mask_id = next((i for i in ids if i is not None), None)
    text.never_answered = tuple(
        i for i, t in text._added.items() if t.special and i not in text.trail
    )
    text.eos_id = text.eos_id if text.eos_id is not None else next(iter(text.trail), None)
    return text
