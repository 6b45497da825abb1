"""Rules on the Dockerfile's instructions: what Docker itself refuses, bases, the start."""

import re
from collections.abc import Iterator

from tools.lint.finding import Finding, finding
from tools.lint.reading import bases
from tools.lint.reading.dockerfile import INSTRUCTIONS, Dockerfile, Instruction, Stage, sources
from tools.lint.reading.image import starters
from tools.lint.reading.shell import expand
from tools.recipe.faults import nearest

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_NIGHTLY = re.compile(r"(?i)nightly|[:.-](?:dev|edge|main|master|head|snapshot|canary)(?:[-.@]|$)")
_MOVING = {"latest", "stable", "main", "master", "devel", "edge", "current", "dev", "lts"}
_PRIVATE = re.compile(
    r"localhost(?::\d+)?|127\.[\d.:]+|10\.[\d.:]+|192\.168\.[\d.:]+|172\.(?:1[6-9]|2\d|3[01])\.[\d.:]+"
    r"|[\w-]+:\d+|[\w.-]+\.(?:local|internal|lan|corp)(?::\d+)?"
)
_OPERATORS = {"&&", "||", ";", "|", "&", ">", ">>", "2>&1"}
# As Docker reads them: x86_64 is amd64, v2 a younger one of its kind.
_AMD64 = re.compile(r"(?i)(?:linux/)?(?:amd64|x86[_-]64)(?:/v\d)?")
# Bases whose own start is a shell, an interpreter or nothing: others may bring a server.
PLAIN = re.compile(
    r"(?:[\w-]+(?:\.[\w-]+)+(?::\d+)?/)?(?:library/)?"
    r"(?:python|pypy|ubuntu|debian|alpine|buildpack-deps|fedora|centos|almalinux|rockylinux"
    r"|nvidia/(?:cuda|pytorch|tensorflow)|pytorch/pytorch|tensorflow/tensorflow"
    r"|continuumio/\w+|condaforge/\w+|mambaorg/micromamba|scratch)(?:[:@]|$)"
)
FILE = "Dockerfile"


def check(dockerfile: Dockerfile) -> Iterator[Finding]:
    """Every rule on instructions."""
    yield from _unknown(dockerfile)
    if not dockerfile.stages:
        if not dockerfile.unknown:
            yield finding("no-base-image", FILE, 1, "no FROM")
        return
    for one in dockerfile.before:
        if one.name != "ARG":
            said = f"{one.name} before the first FROM; only ARG may stand there"
            yield finding("no-base-image", FILE, one.line, said)
    for stage in dockerfile.used():
        yield from _base(stage, dockerfile)
        yield from _stages(stage, dockerfile)
    for one in dockerfile:
        if not one.body.strip():
            yield finding("dockerfile-syntax", FILE, one.line, f"{one.name} has no arguments")
        elif one.name == "SHELL" and not one.json:
            yield finding("dockerfile-syntax", FILE, one.line, "SHELL wants the JSON form")
    yield from _start(dockerfile.stages[-1])


def _unknown(dockerfile: Dockerfile) -> Iterator[Finding]:
    for one in dockerfile.unknown:
        hint = nearest(one.name, INSTRUCTIONS)
        said = f"{one.name.lower() if not hint else one.name} is no instruction{hint}"
        yield finding("unknown-instruction", FILE, one.line, said)


def _base(stage: Stage, dockerfile: Dockerfile) -> Iterator[Finding]:
    one = stage.instructions[0]
    platform = expand(one.flags.get("platform", ""), one.scope)
    if platform and "$" not in platform and not _AMD64.fullmatch(platform):
        yield finding("wrong-platform", FILE, one.line, f"FROM --platform={platform}")
    if not stage.parent and stage.base.lower() not in ("", "scratch") and "$" not in stage.base:
        yield from _image(stage.base, one)


def _image(name: str, one: Instruction) -> Iterator[Finding]:
    """An image from elsewhere: nightly, without version, without digest."""
    plain, _, digest = name.partition("@")
    _path, _, tag = plain.rpartition("/")[2].partition(":")
    host = plain.partition("/")[0] if "/" in plain else ""
    if _PRIVATE.fullmatch(host):
        yield finding(
            "private-source", FILE, one.line, f"the registry {host} is reached by you only"
        )
    if digest and not _DIGEST.search(name):
        yield finding("bad-digest", FILE, one.line, f"{name} has no whole digest")
    if _NIGHTLY.search(plain) and not _DIGEST.search(name):
        yield finding("nightly", FILE, one.line, f"{name} is a nightly or development image")
    elif _NIGHTLY.search(plain) and "nightly" in plain.lower():
        yield finding("nightly", FILE, one.line, f"{name} is a nightly image, digest or not")
    elif digest:
        return
    elif not tag:
        yield finding("mutable-tag", FILE, one.line, f"{name} has no tag, which means latest")
    elif tag in _MOVING or tag.startswith("latest"):
        yield finding("mutable-tag", FILE, one.line, f"{name}: the tag {tag} moves")
    else:
        yield finding("no-digest", FILE, one.line, f"{name} is pinned by tag only")


def _stages(stage: Stage, dockerfile: Dockerfile) -> Iterator[Finding]:
    """COPY --from and RUN --mount: is it a stage, or an image?"""
    names = [one.name for one in dockerfile.stages if one.name]
    for one in stage.instructions:
        for name in sources(one):
            if dockerfile.stage(name) or "$" in name:
                continue
            if name.isdigit() or (hint := nearest(name, names)):
                hint = "" if name.isdigit() else hint
                yield finding("unknown-stage", FILE, one.line, f"no stage is called {name}{hint}")
            else:
                yield from _image(name, one)


def _start(stage: Stage) -> Iterator[Finding]:
    found = starters(stage)
    if not found and PLAIN.match(stage.image):
        last = stage.instructions[-1]
        yield finding("no-start-command", FILE, last.end, "neither CMD nor ENTRYPOINT at the end")
    for name in ("CMD", "ENTRYPOINT"):
        own = [one for one in stage.instructions if one.name == name]
        for one in own[:-1]:
            said = f"this {name} is overridden in line {own[-1].line}"
            yield finding("overridden-command", FILE, one.line, said)
    commands = [one for one in stage.instructions if one.name == "CMD"]
    if len(found) == 1 and found[0].name == "ENTRYPOINT" and not found[0].json and commands:
        yield finding("ignored-command", FILE, commands[-1].line, "ENTRYPOINT has the shell form")
    inherited = bases.inherited(stage)
    if found and inherited and not bases.fits(inherited, found[0]):
        image = stage.image.partition("@")[0]
        said = f"{image} starts {' '.join(inherited)} with this CMD as its arguments"
        yield finding("inherited-entrypoint", FILE, found[0].line, said)
    for one in found:
        yield from _form(one)


def _form(one: Instruction) -> Iterator[Finding]:
    """What is meant as JSON but is none, and shell text in the JSON form."""
    body = one.body.strip()
    if not one.json:
        if re.match(r"\[\s*[\"'\u2018-\u201f]", body) or (body.startswith("[") and "," in body):
            said = f"{one.name} {_short(body)} is no JSON, so a shell is asked to run it"
            yield finding("json-form", FILE, one.line, said)
        return
    texts = [word.text for word in one.words]
    shell = bool(texts) and texts[0].rpartition("/")[2] in ("sh", "bash", "dash", "zsh")
    if len(texts) == 1 and " " in texts[0] and one.name == "CMD":
        said = f"{one.name} names one program called {_short(texts[0])!r}"
        yield finding("json-form", FILE, one.line, said)
    elif texts and not shell and (odd := next((t for t in texts if t in _OPERATORS), None)):
        said = f"{odd} is an argument here, not the shell's operator"
        yield finding("json-form", FILE, one.line, said)
    if not shell:
        for word in one.words:
            if re.search(r"(?<!\\)\$(?:[A-Za-z_]|\{)", word.text):
                said = f"{word.text} is not expanded in the JSON form"
                yield finding("json-form", FILE, word.line, said)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
