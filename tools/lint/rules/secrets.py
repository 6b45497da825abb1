"""Tokens, keys and passwords anywhere in the folder: named by kind, never shown."""

import re
from collections.abc import Iterator

from tools.lint.finding import Finding, finding
from tools.lint.reading.folder import Folder
from tools.recipe import redact

_VALUE = re.compile(
    r"(?P<key>[A-Za-z_][\w.-]*)[\"']?\s*(?:[=:]|\s)\s*(?P<quote>[\"'])(?P<text>[^\"'\s]{8,})(?P=quote)"
    r"|(?:^\s*ENV\s+(?P<env>[A-Z]\w*)\s+|(?:^|\s)(?P<name>[A-Z][A-Z0-9_]*)=)"
    r"(?P<plain>[^\s\"'$]{8,})"
)
_WANDB = re.compile(r"(?i)wandb[^\n]{0,60}?(?<![@/0-9a-f])[0-9a-f]{40}\b")
_KAGGLE = re.compile(
    r"(?i)\"username\"[^\n]*\"key\"\s*:\s*\"[0-9a-f]{32}\"|kaggle_key\W{1,4}[0-9a-f]{32}\b"
)
_NAMED = re.compile(
    r"(?i)(?:^|_)(?:hf|hugging_?face(?:hub)?|hub|wandb|openai|github|gh|aws_secret|aws)_?\w*"
    r"(?:token|api_?key|secret_access_key|access_key)$|^(?:hf_?token|password|passwd|api_?key)$"
)
_EMPTY = re.compile(
    r"(?i)^[x*.•<>_-]+$|x{6,}|\*{3,}|\.{3}|your|replace|change.?me|placeholder|dummy|none|null|"
    r"^<.*>$|\$|\{|example\.com|insert|todo|os\.environ|getenv|secrets\.|token_here|not.?needed"
)
# A line without any of these holds none of the shapes and names below: most lines are passed over.
_HINT = re.compile(
    r"(?i)hf_|sk-|wandb|akia|asia|gh[pousr]_|github_pat|aiza|xox|private key|://\S*@|token|key|secret|"
    r"passw"
)
_BODY = re.compile(r"^(?:hf_|sk-|gh[pousr]_|github_pat_|xox[a-z]-)")
_LONG = 4000  # characters; what follows in a line is data
_SKIPPED = re.compile(
    r"(?i)(?:^|/)(?:tokenizer\.json|vocab\.json|merges\.txt|.*\.(?:lock|svg|csv|tsv|jsonl|pdf))$"
)


def check(folder: Folder) -> Iterator[Finding]:
    """One finding a line, in every text file; comments and notes are published, too."""
    for name in folder.sizes:
        if _SKIPPED.search(name):
            continue
        text = folder.text(name)
        for number, line in enumerate((text or "").splitlines(), start=1):
            if _HINT.search(line) and (kind := kind_of(line[:_LONG])):
                yield finding("secret", name, number, f"a secret stands here: {kind}")


def kind_of(line: str) -> str:
    """What kind of secret a line holds; empty when none."""
    for found in _pieces(line):
        kind = redact.secret("", found)
        # 40 hex digits by themselves are rather a commit; _WANDB asks for the name as well.
        if kind and "40 hex" not in kind and not _is_placeholder(found, kind):
            return kind
    if _WANDB.search(line):
        return "W&B key"
    if _KAGGLE.search(line):
        return "Kaggle key"
    for found_value in _VALUE.finditer(line):
        key = found_value["key"] or found_value["name"] or found_value["env"] or ""
        value = found_value["text"] or found_value["plain"] or ""
        named = redact.secret(key, value) or ("secret, by its name" if _NAMED.search(key) else "")
        if named and "40 hex" not in named and not _EMPTY.search(value) and _is_random(value):
            return named
    return ""


def _pieces(line: str) -> Iterator[str]:
    """The line whole, for shapes with spaces in them, when it could hold one; else its words."""
    if "PRIVATE KEY-----" in line:
        yield line
    yield from re.split(r"[\s\"'`,;()<>\[\]{}=]+", line)
    if re.search(r"(?i)wandb|://", line):
        yield line


def _is_placeholder(text: str, kind: str) -> bool:
    """``hf_xxxxxxxx``, ``user:${TOKEN}@host``: a shape without a secret."""
    if kind == "private key":
        return False
    if "address" in kind:
        found = re.search(r"://([^\s/:@]+):([^\s/:@]+)@", text)
        return bool(found and (_EMPTY.search(found[2]) or found[2].lower() in ("pass", "password")))
    body = _BODY.sub("", text)
    return bool(_EMPTY.search(body)) or len(set(body)) < 4


def _is_random(value: str) -> bool:
    """Whether a value looks made by a machine: a digit or both cases, and no path or sentence."""
    if "/" in value and not re.search(r"\d", value):
        return False
    letters = re.sub(r"[^A-Za-z]", "", value)
    mixed = letters != letters.lower() and letters != letters.upper()
    return bool(re.search(r"\d", value)) or mixed or len(value) >= 16
