"""A Dockerfile as stages of instructions, each with its lines and the variables known there.

BuildKit's own parser (the package ``dockerfile``) cuts the text into instructions: line
continuations, here documents, parser directives, ONBUILD and the JSON form are its business. What
an instruction's words are is read from the text, for the line of each word.
"""

import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tools.lint.reading.shell import Redirect, Word, expand, lex

INSTRUCTIONS = (
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL "
    "STOPSIGNAL USER VOLUME WORKDIR"
).split()
# BuildKit gives these without an ARG line having a value (docs.docker.com).
PREDEFINED = {
    *("HTTP_PROXY HTTPS_PROXY FTP_PROXY NO_PROXY ALL_PROXY".split()),
    *("http_proxy https_proxy ftp_proxy no_proxy all_proxy".split()),
}
PLATFORM = {
    *("TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT".split()),
    *("BUILDPLATFORM BUILDOS BUILDARCH BUILDVARIANT".split()),
}
# Base images, without host, tag and digest, whose last WORKDIR is known (their Dockerfiles).
_FOLDERS = {
    re.compile(r"(?:.*/)?(?:pytorch/pytorch(?:-nightly)?|nvidia/pytorch)"): "/workspace",
    re.compile(r"(?:docker\.io/)?tiangolo/.+"): "/app",
    re.compile(
        r"scratch|(?:docker\.io/)?(?:library/)?(?:python|ubuntu|debian)"
        r"|(?:(?:docker|nvcr)\.io/)?nvidia/cuda"
    ): "/",
}
Scope = dict[str, str | None]
_LINES = 500  # of a Dockerfile; a fault further down is given line 1
_JSON = {"RUN", "CMD", "ENTRYPOINT", "COPY", "ADD", "VOLUME", "SHELL", "HEALTHCHECK"}


class ParseError(Exception):
    """BuildKit's parser refuses the text.

    Args:
        message: its words.
        line: the line that it names, else 1.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(eq=False)
class Instruction:
    """One instruction.

    Attributes:
        name: in capitals; of ONBUILD, ``ONBUILD``.
        line: its first line, from 1; ``end`` its last.
        body: the text after the name, with its line breaks.
        words: the body's words without flags; of the JSON form, its strings.
        flags: ``--from=x`` as ``{"from": "x"}``, the last one of a name.
        json: whether it is in the JSON form.
        scope: the variables before it; None has no value.
        workdir: the folder that relative paths go by.
        shell: the program that reads its shell form.
        documents: its here documents.
    """

    name: str
    line: int
    end: int
    body: str
    words: list[Word] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)
    json: bool = False
    scope: Scope = field(default_factory=dict)
    workdir: str = "/"
    shell: str = "sh"
    documents: list[Redirect] = field(default_factory=list)

    def path(self, text: str) -> str:
        """An absolute path in the image, variables put in."""
        return posixpath.normpath(posixpath.join(self.workdir, expand(text, self.scope)))


@dataclass(eq=False)
class Stage:
    """What one FROM begins.

    Attributes:
        base: the image as written, variables put in.
        name: after AS, lower case; empty without.
        index: from 0.
        instructions: FROM first.
        parent: the stage that it is built on; None for an image from elsewhere.
        scope: the variables after its last instruction.
        workdir: the folder after its last instruction.
    """

    base: str
    name: str
    index: int
    instructions: list[Instruction]
    parent: "Stage | None" = None
    scope: Scope = field(default_factory=dict)
    workdir: str = "/"
    shell: str = "sh"

    def lineage(self) -> list["Stage"]:
        """The stages that it is built on, the first one first, and itself."""
        return [*(self.parent.lineage() if self.parent else []), self]

    def settled(self) -> bool:
        """Whether it is known which folder relative paths go by."""
        return bool(_folder(self.image)) or any(
            one.name == "WORKDIR" and one.words and one.words[0].text.startswith("/")
            for level in self.lineage()
            for one in level.instructions
        )

    @property
    def image(self) -> str:
        """The image from elsewhere that it goes back to."""
        return self.lineage()[0].base


@dataclass
class Dockerfile:
    """A parsed Dockerfile: its stages, and the instructions before the first FROM."""

    stages: list[Stage]
    before: list[Instruction]
    unknown: list[Instruction]

    def __iter__(self) -> Iterator[Instruction]:
        yield from self.before
        for stage in self.stages:
            yield from stage.instructions

    def stage(self, name: str) -> Stage | None:
        """A stage by its name or number."""
        for stage in self.stages:
            if name.lower() == stage.name or name == str(stage.index):
                return stage
        return None

    def used(self) -> list[Stage]:
        """The stages that a build without ``--target`` builds: the last, and what it needs."""
        needed, waiting = set[int](), [self.stages[-1]] if self.stages else []
        while waiting:
            stage = waiting.pop()
            if stage.index in needed:
                continue
            needed.add(stage.index)
            waiting += [stage.parent] if stage.parent else []
            for one in stage.instructions:
                waiting += filter(None, [self.stage(name) for name in sources(one)])
        return [stage for stage in self.stages if stage.index in needed]


def sources(instruction: Instruction) -> list[str]:
    """The names of stages or images that an instruction takes files from."""
    named = [instruction.flags["from"]] if "from" in instruction.flags else []
    if instruction.name == "RUN":
        named += re.findall(r"--mount=\S*\bfrom=([^,\s]+)", instruction.body)
    return [expand(name, instruction.scope) for name in named]


def parse(text: str) -> Dockerfile:
    """Parse a Dockerfile.

    Raises:
        ParseError: it is no Dockerfile in the eyes of BuildKit's parser.
    """
    file = Dockerfile([], [], [])
    globals_: Scope = {}
    for one in _instructions(text):
        if one.name not in INSTRUCTIONS:
            file.unknown.append(one)
        elif one.name == "FROM":
            one.scope = dict(globals_)
            file.stages.append(_stage(file, one))
        elif not file.stages:
            one.scope = dict(globals_)
            file.before.append(one)
            if one.name == "ARG":
                globals_.update(_arguments(one, {}))
        else:
            stage = file.stages[-1]
            one.scope, one.workdir, one.shell = dict(stage.scope), stage.workdir, stage.shell
            stage.instructions.append(one)
            _apply(one, stage, globals_)
    return file


def _instructions(text: str) -> Iterator[Instruction]:
    import dockerfile

    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        parsed = dockerfile.parse_string(text)
    except dockerfile.GoParseError as error:
        said = str(error.args[0]) if error.args else "not a Dockerfile"
        raise ParseError(said, _guilty(text, said)) from None
    lines = text.split("\n")
    escape = re.match(r"(?:#[^\n]*=[^\n]*\n)*#\s*escape\s*=\s*`", text, re.IGNORECASE)
    for command in parsed:
        raw = _joined(lines[command.start_line - 1 : command.end_line], "`" if escape else "\\")
        keyword = re.match(r"\s*\S+", raw)
        body = raw[keyword.end() :] if keyword else ""
        one = Instruction((command.cmd or "").upper(), command.start_line, command.end_line, body)
        _split(one, command.json)
        yield one


def _guilty(text: str, said: str) -> int:
    """The line at which the parser begins to say so; its message names none."""
    import dockerfile

    lines = text.split("\n")
    for count in range(1, min(len(lines), _LINES) + 1):
        try:
            dockerfile.parse_string("\n".join(lines[:count]))
        except dockerfile.GoParseError as error:
            if error.args and str(error.args[0]) == said:
                return count
    return 1


def _joined(lines: list[str], escape: str) -> str:
    """The lines of an instruction, its comment lines made continuations as Docker drops them."""
    kept, heredoc = [], False
    for number, line in enumerate(lines):
        if heredoc:
            kept.append(line)
            continue
        if number and (not line.strip() or line.lstrip().startswith("#")):
            line = escape
        if escape == "`" and line.rstrip().endswith("`"):
            line = line.rstrip()[:-1] + "\\"
        ended = line.rstrip()
        kept.append(ended if ended.endswith("\\") else line)
        heredoc = not ended.endswith("\\")
    return "\n".join(kept)


def _split(one: Instruction, is_json: bool) -> None:
    """Fills in words, flags and form."""
    plain = one.name not in ("RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK")
    tokens = lex(one.body, one.line, plain)
    words = [token for token in tokens if isinstance(token, Word)]
    one.documents = [token for token in tokens if isinstance(token, Redirect) and token.body]
    while words and re.match(r"--[a-z]", words[0].text) and one.name != "ENV":
        name, _, value = words.pop(0).text[2:].partition("=")
        one.flags[name] = value
    one.words, one.json = words, is_json and one.name in _JSON
    if one.json:
        one.words = _strings(one)


def _strings(one: Instruction) -> list[Word]:
    """The strings of the JSON form, each with the line it stands on."""
    text = one.body[one.body.index("[") :] if "[" in one.body else "[]"
    start = one.line + one.body[: len(one.body) - len(text)].count("\n")
    try:
        values = json.loads(text.replace("\\\n", "\n"))
    except ValueError:
        return []
    words, at = [], 0
    for value in values:
        quoted = json.dumps(value, ensure_ascii=False)
        at = max(text.find(quoted, at), at)
        words.append(Word(str(value), quoted, start + text.count("\n", 0, at)))
        at += len(quoted)
    return words


def _stage(file: Dockerfile, one: Instruction) -> Stage:
    texts = [word.text for word in one.words]
    base = expand(texts[0], one.scope) if texts else ""
    named = len(texts) > 2 and texts[1].upper() == "AS"
    # FROM takes a stage by its name only; numbers are for COPY --from.
    parent = file.stage(base) if not base.isdigit() else None
    stage = Stage(base, texts[2].lower() if named else "", len(file.stages), [one], parent)
    if parent:
        stage.scope = {k: v for k, v in parent.scope.items() if k in _environment(parent)}
        stage.workdir, stage.shell = parent.workdir, parent.shell
    else:
        stage.workdir = _folder(base) or "/"
    return stage


def _folder(image: str) -> str:
    """The folder that a base image ends in; empty where it is not known."""
    name = re.sub(r"(?::[^/]*)?(?:@.*)?$", "", image)
    return next((place for shape, place in _FOLDERS.items() if shape.fullmatch(name)), "")


def _environment(stage: Stage) -> set[str]:
    """The names that ENV set in a stage or below it; what ARG set ends with its stage."""
    return {
        name
        for level in stage.lineage()
        for one in level.instructions
        if one.name == "ENV"
        for name, _ in pairs(one)
    }


def environment(stage: Stage) -> dict[str, str]:
    """The variables that the image of a stage starts with, as far as its Dockerfile sets them."""
    names = _environment(stage)
    return {name: value or "" for name, value in stage.scope.items() if name in names}


def _apply(one: Instruction, stage: Stage, globals_: Scope) -> None:
    """What an instruction changes for those after it."""
    if one.name == "ARG":
        stage.scope.update(_arguments(one, globals_))
    elif one.name == "ENV":
        stage.scope.update({k: expand(v.text, one.scope) for k, v in pairs(one)})
    elif one.name == "WORKDIR" and one.words:
        stage.workdir = one.path(one.words[0].text)
    elif one.name == "SHELL" and one.words:
        stage.shell = posixpath.basename(one.words[0].text)


def _arguments(one: Instruction, globals_: Scope) -> Scope:
    """What an ARG line gives: a default, the global one of that name, or nothing."""
    found: Scope = {}
    for word in one.words:
        name, equals, value = word.text.partition("=")
        if equals:
            found[name] = expand(value, one.scope)
        elif name in PREDEFINED | PLATFORM:
            found[name] = "amd64" if name.endswith("ARCH") else ""
        else:
            found[name] = globals_.get(name, one.scope.get(name))
    return found


def pairs(one: Instruction) -> list[tuple[str, Word]]:
    """The names and values of an ENV or LABEL line, in either of its two forms."""
    words = one.words
    if words and "=" not in words[0].text:  # ENV KEY the whole rest
        rest = " ".join(word.text for word in words[1:])
        raw = " ".join(word.raw for word in words[1:])
        return [(words[0].text, Word(rest, raw, words[0].line))]
    found = []
    for word in words:
        name, _, value = word.text.partition("=")
        found.append((name, Word(value, word.raw.partition("=")[2], word.line)))
    return found
