"""Rules on the folder itself: its name, its Dockerfiles, what must not lie in it."""

import posixpath
import re
from collections.abc import Iterator

from tools.lint.finding import Finding, finding
from tools.lint.reading.folder import ENVIRONMENT, Folder

LARGE = 100_000_000  # bytes; GitHub's limit for a file (docs.github.com, large files)
CONTEXT = 500_000_000  # bytes; a submission of code is far below
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*")  # a component of an image's name
_VARIANT = re.compile(r"(?i)dockerfile(?:[._ -].*)?|.*\.dockerfile|docker_?file.*|container_?file")
_TRAINING = re.compile(r"(?i)train|tune|test|dev|debug|local|data|helm|eval|bench|docs|cpu")
_VENDORED = re.compile(r"(?:^|/)(?:node_modules|site-packages|third_party|vendor|\.github|docs?)/")
_WEIGHTS = re.compile(
    r"(?i).*\.(?:safetensors|gguf|ggml|ggjt|pth|ckpt|nemo|onnx|tflite|h5|msgpack|exl2|awq|gptq)$"
)
_TORCH = re.compile(r"(?i).*\.(?:pt|bin|npz|pkl)$")
_TORCH_NAME = re.compile(
    r"(?i)(?:.*(?:model|weights?|adapter|lora|consolidated|checkpoint|optim).*)"
)
_ODD = {
    "space-in-path": ("has a space in its name", re.compile(r" ")),
    "unsafe-path": ("has odd characters in its name", re.compile(r"[^ -~]|[\\:*?\"<>|$`'&;!]")),
}
_MANY = 5  # paths with the same fault that are named one by one
_BIG = 1_000_000  # bytes from which a .bin or .pt is taken for weights whatever its name
_LFS = "version https://git-lfs.github.com/spec/"


def check(folder: Folder) -> Iterator[Finding]:
    """Every rule on the folder's listing."""
    yield from _name(folder)
    yield from _dockerfiles(folder)
    yield from _paths(folder)
    yield from _sizes(folder)
    yield from _weights(folder)
    yield from _submodules(folder)


def _name(folder: Folder) -> Iterator[Finding]:
    name = folder.root.resolve().name
    tag = name.replace("-", "_").lower()  # as the organizers' script does
    if not _NAME.fullmatch(tag):
        yield finding("unsafe-name", ".", 0, f"the folder is named {name!r}, the image {tag!r}")


def _dockerfiles(folder: Folder) -> Iterator[Finding]:
    named = [name for name in folder.sizes if _VARIANT.fullmatch(posixpath.basename(name))]
    named = [name for name in named if not name.endswith((".dockerignore", ".md", ".py"))]
    if "Dockerfile" in folder.sizes:
        for name in named:
            if name == "Dockerfile" or _VENDORED.search(name):
                continue
            yield _second(name)
        return
    beside = [name for name in named if "/" not in name]
    below = [name for name in named if "/" in name and not _VENDORED.search(name)]
    for name in beside:
        yield finding("misnamed-dockerfile", name, 0, f"{name} is not called Dockerfile")
    if beside:
        return
    if below:
        said = f"no Dockerfile in the folder itself; there is {', '.join(below[:3])}"
        remedy = f"submit the folder {posixpath.dirname(below[0])}, or move its files up"
        yield finding("no-dockerfile", ".", 0, said, remedy=remedy)
    else:
        yield finding("no-dockerfile", ".", 0, "no Dockerfile in the folder")


def _second(name: str) -> Finding:
    """A Dockerfile beside the Dockerfile: grave where it could be meant for serving."""
    base = posixpath.basename(name)
    serving = "/" not in name and not _TRAINING.search(base)
    said = f"{name} beside Dockerfile: only Dockerfile is built"
    return finding("several-dockerfiles", name, 0, said, "error" if serving else None)


def _paths(folder: Folder) -> Iterator[Finding]:
    """Names that do not survive; a folder's is told once, and of many only a few."""
    found: dict[str, dict[str, None]] = {rule: {} for rule in _ODD}
    for name in folder.sizes:
        parts = name.split("/")
        for depth, part in enumerate(parts, start=1):
            rule = next((rule for rule, (_, shape) in _ODD.items() if shape.search(part)), None)
            if rule:
                found[rule]["/".join(parts[:depth])] = None
                break
    for rule, paths in found.items():
        for path in list(paths)[:_MANY]:
            yield finding(rule, path, 0, f"{path!r} {_ODD[rule][0]}")
        if (more := len(paths) - _MANY) > 0:
            yield finding(rule, ".", 0, f"{more} more paths like these")


def _sizes(folder: Folder) -> Iterator[Finding]:
    for name, size in folder.sizes.items():
        if size > LARGE:
            said = f"{name} has {size / 1e6:.0f} MB, the limit is {LARGE / 1e6:.0f} MB"
            yield finding("file-too-large", name, 0, said)
    for name in folder.context:
        base, _, mark = name.rpartition("/")
        if mark == ENVIRONMENT and base:
            said = f"{base} is a virtual environment of Python"
            yield finding("environment-in-tree", base, 0, said)
    total = sum(folder.sizes[name] for name in folder.context)
    if total > CONTEXT:
        said = f"the folder has {total / 1e6:.0f} MB, more than {CONTEXT / 1e6:.0f} MB"
        yield finding("folder-too-large", ".", 0, said)


def _weights(folder: Folder) -> Iterator[Finding]:
    for name, size in folder.sizes.items():
        text = folder.text(name) if size < 1000 else None  # a pointer of git lfs is smaller
        if text and text.startswith(_LFS):
            yield finding("lfs-pointer", name, 0, f"{name} is a pointer of git lfs")
        elif _WEIGHTS.fullmatch(name) or (_TORCH.fullmatch(name) and _is_weights(name, size)):
            yield finding("weights-in-tree", name, 0, f"{name} ({size:,} bytes) holds weights")


def _is_weights(name: str, size: int) -> bool:
    base = posixpath.basename(name)
    return size >= _BIG or bool(
        _TORCH_NAME.fullmatch(base) and base.lower().endswith((".bin", ".pt"))
    )


def _submodules(folder: Folder) -> Iterator[Finding]:
    for number, line in enumerate((folder.text(".gitmodules") or "").splitlines(), start=1):
        found = re.match(r"\s*path\s*=\s*(.+?)\s*$", line)
        if found and found[1].strip("/") not in folder.folders:
            said = f"the submodule {found[1]} holds no files"
            yield finding("empty-submodule", ".gitmodules", number, said)
