"""Secrets written where others will read them: known by their shape, named but never shown."""

import re

# Shapes are those that the services document; a digit is asked for where words could look alike.
_SHAPES = {
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{20,}",
    "OpenAI or Anthropic key": r"\bsk-(?=[\w-]*\d)[\w-]{20,}",
    "W&B key": r"\bwandb_v\d_\w{20,}|(?i:wandb\w{0,20}[=:]\s*)[0-9a-f]{40}\b",
    "AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{20,}",
    "Google key": r"\bAIza[\w-]{35}",
    "Slack token": r"\bxox[abeprs]-[A-Za-z0-9-]{10,}",
    "private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*",
    "password in an address": r"(?<=://)[^\s/:@]+:[^\s/:@]+(?=@)",
}
_PATTERNS = {kind: re.compile(shape) for kind, shape in _SHAPES.items()}
# W&B's older keys look like a commit, so it takes the key beside them to tell the two apart.
_FORTY = re.compile(r"[0-9a-f]{40}")
_COMMIT = re.compile(r"revision|commit|sha")
_NAMED = re.compile(r"(?:api_?key|passw(?:or)?d|secret|(?:auth|access)_?token)\d*$", re.IGNORECASE)


def secret(key: str, value: str) -> str:
    """What kind of secret a value is, empty when it is none.

    Args:
        key: the value's full key; its last part may tell.
        value: as the recipe has it.
    """
    for kind, pattern in _PATTERNS.items():
        if pattern.search(value):
            return kind
    last = key.rpartition(".")[2]
    if _FORTY.fullmatch(value.strip()) and not _COMMIT.search(last):
        return "W&B key (40 hex digits)"
    return "secret, by the key's name" if value and _NAMED.search(last) else ""


def redact(text: str) -> str:
    """A message without the secrets it may quote."""
    for kind, pattern in _PATTERNS.items():
        text = pattern.sub(f"<{kind}>", text)
    return text
