"""Shell text as simple commands, each word with its line: enough of a POSIX shell to judge a RUN.

Quotes, escapes, comments, substitutions (kept whole inside their word), redirections, here
documents and the operators between commands are understood; control flow is not followed, its
words (``if``, ``then``, ``do``) are dropped from the front of a command.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

# The longer ones first: the first that fits is taken.
_OPERATORS = ("&&", "||", ";;", "|&", ";", "&", "|", "(", ")", "\n")
_REDIRECTION = re.compile(r"&>>|&>|\d*(?:<<<|<<-|<<|<>|>>|>\||>&|<&|>|<)")
_RESERVED = {"if", "then", "elif", "else", "do", "while", "until", "!", "{", "}", "fi", "done"}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_WRAPPERS = {
    *("sudo exec time nice nohup env command stdbuf xargs tini dumb-init gosu timeout".split()),
}
_WITH_VALUE = {"nice": {"-n"}, "sudo": {"-u", "-g"}, "xargs": {"-n", "-I", "-P"}, "env": {"-u"}}
_OPERANDS = {"gosu": 1, "timeout": 1}  # words that a wrapper takes before the program
_RUNNERS = {"uv", "poetry", "pipenv", "conda", "mamba", "micromamba", "pdm", "hatch"}
_RUNNER_VALUES = {"-n", "-p", "--name", "--prefix", "--python", "--with", "--extra", "--group"}
SHELLS = {"sh", "bash", "dash", "ash", "zsh", "ksh"}


@dataclass(frozen=True)
class Word:
    """A word: its text without quotes, as it was written, and its line (from 1)."""

    text: str
    raw: str
    line: int


@dataclass(frozen=True)
class Redirect:
    """A redirection: the operator, its target, for ``<<`` the document, the word it touches."""

    operator: str
    target: Word
    body: str = ""
    behind: Word | None = None


@dataclass(frozen=True)
class Command:
    """A simple command.

    Attributes:
        words: the program and its arguments; wrappers (``sudo``, ``exec``) are dropped.
        line: of its first word.
        before: the operator before it, empty for the first.
        redirects: where it reads from and writes to.
        assigned: variables set before the program's name, or by themselves.
        wrappers: the dropped wrappers' names.
        file: in which file it stands, relative to the submission.
        shell: the shell that it was given to by name (``bash -c``); empty without.
    """

    words: tuple[Word, ...]
    line: int
    before: str = ""
    redirects: tuple[Redirect, ...] = ()
    assigned: dict[str, str] = field(default_factory=dict)
    wrappers: tuple[str, ...] = ()
    file: str = "Dockerfile"
    shell: str = ""

    @property
    def name(self) -> str:
        """The program, without its folder."""
        return self.words[0].text.rpartition("/")[2] if self.words else ""

    @property
    def texts(self) -> list[str]:
        """The words' texts."""
        return [word.text for word in self.words]


@dataclass(frozen=True)
class Operator:
    """What stands between commands."""

    text: str
    line: int


def lex(text: str, line: int, plain: bool = False) -> "list[Word | Operator | Redirect]":
    """The tokens of a text; none where it is nested deeper than anybody writes.

    Args:
        text: what is read.
        line: the number of its first line.
        plain: only blanks end a word, as in ENV or COPY, which no shell reads.
    """
    try:
        return _Lexer(text, line, plain).tokens
    except RecursionError:
        return []


class _Lexer:
    """Walks over the text once; ``tokens`` has the result."""

    def __init__(self, text: str, line: int, plain: bool = False) -> None:
        self.text, self.at, self.line, self.plain = text, 0, line, plain
        self.ends = " \t\r\n" if plain else " \t\r\n;&|()<>"
        self.tokens: list[Word | Operator | Redirect] = []
        self._awaited: list[tuple[int, str]] = []  # here documents: token's place and its end
        self._run()

    def _run(self) -> None:
        while self.at < len(self.text):
            char = self.text[self.at]
            if self.plain and char not in " \t\r\\":
                self._step()
                continue
            if char in " \t\r" or self.text.startswith("\\\n", self.at):
                self._skip(1 if char != "\\" else 2)
            elif char == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif found := _REDIRECTION.match(self.text, self.at):
                self._redirect(found.group())
            elif operator := next((o for o in _OPERATORS if self.text.startswith(o, self.at)), ""):
                self.tokens.append(Operator(operator, self.line))
                self._skip(len(operator))
                if operator == "\n" and self._awaited:
                    self._documents()
            else:
                self.tokens.append(self._word())

    def _step(self) -> None:
        """One token where no shell reads."""
        if self.text[self.at] == "\n":
            self._skip(1)
            if self._awaited:
                self._documents()
        elif (found := _REDIRECTION.match(self.text, self.at)) and "<<" in found.group():
            self._redirect(found.group())
        else:
            self.tokens.append(self._word())

    def _skip(self, count: int) -> None:
        self.line += self.text.count("\n", self.at, self.at + count)
        self.at += count

    def _redirect(self, operator: str) -> None:
        last = self.tokens[-1] if self.tokens else None
        touches = self.at > 0 and self.text[self.at - 1] not in " \t\n;&|("
        behind = last if isinstance(last, Word) and touches else None
        self._skip(len(operator))
        while self.at < len(self.text) and self.text[self.at] in " \t":
            self.at += 1
        target = self._word()
        self.tokens.append(Redirect(operator.lstrip("0123456789"), target, behind=behind))
        if operator.lstrip("0123456789") in ("<<", "<<-"):
            self._awaited.append((len(self.tokens) - 1, target.text))

    def _documents(self) -> None:
        """Takes the here documents that begin on this line; each goes to its redirection."""
        for place, end in self._awaited:
            rest = self.text[self.at :].split("\n")
            stop = next((n for n, one in enumerate(rest) if one.strip("\t\r") == end), len(rest))
            body = "\n".join(rest[:stop])
            redirect = self.tokens[place]
            assert isinstance(redirect, Redirect)
            self.tokens[place] = replace(
                redirect, body=body, target=replace(redirect.target, line=self.line)
            )
            self._skip(min(len("\n".join(rest[: stop + 1])) + 1, len(self.text) - self.at))
        self._awaited = []

    def _word(self) -> Word:
        start, line, parts = self.at, self.line, []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in self.ends:
                # $(…), arrays X=(…) and bash's patterns @(…), ?(…) stay in their word.
                if char != "(" or not self.text[start : self.at].endswith(("$", "=", "@", "?")):
                    break
                parts.append(self._balanced("(", ")"))
            elif char == "\\":
                if not self.text.startswith("\\\n", self.at):
                    parts.append(self.text[self.at + 1 : self.at + 2])
                self._skip(2)
            elif char in "'\"`":
                parts.append(self._quoted(char))
            elif self.text.startswith("${", self.at):
                self.at += 1
                parts.append("$" + self._balanced("{", "}"))
            else:
                parts.append(char)
                self._skip(1)
        if self.at == start:  # a character that no rule takes: never stand still
            self._skip(1)
        return Word("".join(parts), self.text[start : self.at], line)

    def _quoted(self, quote: str) -> str:
        """What stands between quotes; the quotes of a command substitution stay."""
        self._skip(1)
        begun, text = self.at, []
        while self.at < len(self.text) and self.text[self.at] != quote:
            if self.text[self.at] == "\\" and quote != "'":
                # Between double quotes a backslash quotes these only, and joins lines (POSIX).
                if self.text[self.at + 1 : self.at + 2] in '"\\$`':
                    text.append(self.text[self.at + 1 : self.at + 2])
                elif not self.text.startswith("\\\n", self.at):
                    text.append(self.text[self.at : self.at + 2])
                self._skip(2)
            elif quote == '"' and self.text.startswith("$(", self.at):
                self._skip(1)
                text.append("$" + self._balanced("(", ")"))
            else:
                text.append(self.text[self.at])
                self._skip(1)
        inner = self.text[begun : self.at]
        self._skip(1)
        return f"`{inner}`" if quote == "`" else "".join(text)

    def _balanced(self, opening: str, closing: str) -> str:
        start, depth = self.at, 0
        while self.at < len(self.text):
            char = self.text[self.at]
            depth += (char == opening) - (char == closing)
            if char in "'\"" and char != closing and depth:
                self._quoted(char)
            else:
                self._skip(2 if char == "\\" else 1)
            if depth == 0:
                break
        return self.text[start : self.at]


def commands(text: str, line: int = 1, file: str = "Dockerfile", shell: str = "") -> list[Command]:
    """The simple commands of a shell text, those of ``sh -c`` and of shell documents included.

    Args:
        text: shell code, with its line breaks.
        line: the number of its first line in ``file``.
        file: what the commands' ``file`` says.
        shell: what their ``shell`` says.
    """
    found: list[Command] = []
    before, words, redirects = "", [], []  # type: tuple[str, list[Word], list[Redirect]]

    def close(operator: str) -> None:
        nonlocal before, words, redirects
        if words or redirects:
            made = _command(words, redirects, before, file)
            found.extend(_nested(replace(made, shell=shell)))
            before = operator
        elif operator != "\n":
            before = operator
        words, redirects = [], []

    for token in lex(text, line):
        if isinstance(token, Operator):
            close(token.text)
        elif isinstance(token, Redirect):
            redirects.append(token)
        else:
            words.append(token)
    close("")
    return found


def of_words(given: Iterable[Word], file: str = "Dockerfile") -> list[Command]:
    """The commands of an argument list, as Docker's JSON form has it: no shell reads it."""
    words = [Word(word.text, f"'{word.text}'", word.line) for word in given]
    if not words:
        return []
    return list(_nested(_command(words, [], "", file)))


def _command(words: list[Word], redirects: list[Redirect], before: str, file: str) -> Command:
    line = words[0].line if words else redirects[0].target.line
    assigned: dict[str, str] = {}
    wrappers: list[str] = []
    rest = list(words)
    while rest:
        text = rest[0].text
        if text in _RESERVED:
            rest.pop(0)
        elif _ASSIGNMENT.match(rest[0].raw):  # as written: 'X=1' in quotes is a word
            key, _, value = text.partition("=")
            assigned[key.rstrip("+")] = value
            rest.pop(0)
        elif text.rpartition("/")[2] in _WRAPPERS and len(rest) > 1:
            wrapper = rest.pop(0).text.rpartition("/")[2]
            wrappers.append(wrapper)
            _drop_options(rest, _WITH_VALUE.get(wrapper, set()))
            del rest[: min(_OPERANDS.get(wrapper, 0), len(rest) - 1)]
        elif text in _RUNNERS and len(rest) > 2 and rest[1].text == "run":
            wrappers.append(text)
            del rest[:2]
            _drop_options(rest, _RUNNER_VALUES)
        else:
            break
    return Command(
        tuple(rest), line, before, tuple(redirects), assigned, tuple(wrappers), file
    )  # fmt: skip


def _drop_options(rest: list[Word], with_value: set[str]) -> None:
    """Takes a wrapper's own options off the front."""
    while len(rest) > 1 and rest[0].text.startswith("-"):
        taken = rest.pop(0).text
        if taken in with_value and len(rest) > 1:
            rest.pop(0)


def _nested(command: Command) -> Iterator[Command]:
    """The command, and those of the shell text that it is given."""
    yield command
    if command.name in SHELLS:
        script = _script_argument(command)
        if script is not None:
            yield from commands(script.text, script.line, command.file, command.name)
    for redirect in command.redirects:
        first = redirect.body.partition("\n")[0]
        shell = re.split(r"[\s/]", first)[-1] if first.startswith("#!") else command.name
        if redirect.body and (shell in SHELLS or not shell):
            yield from commands(redirect.body, redirect.target.line, command.file, shell)


def _script_argument(command: Command) -> Word | None:
    """What follows ``-c`` (or ``-lc``, ``-euxc``)."""
    for place, word in enumerate(command.words[1:-1], start=1):
        if re.fullmatch(r"-[a-z]*c", word.text):
            return command.words[place + 1]
    return None


_VARIABLE = re.compile(
    r"\\\$|\$(?:(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?P<rest>[^}]*)\})"
)


def variables(raw: str) -> Iterator[tuple[str, str | None]]:
    """The variables that a text as written needs: name and default; None where it has none.

    Text between single quotes is passed over, as the shell does.
    """
    outside = "".join(part for n, part in enumerate(_single_quoted(raw)) if n % 2 == 0)
    for found in _VARIABLE.finditer(outside):
        name, rest = found["plain"] or found["name"], found["rest"] or ""
        if not name:
            continue
        default = re.match(r":?([-=+?])(.*)", rest)
        yield name, default[2] if default and default[1] != "?" else None


def _single_quoted(raw: str) -> list[str]:
    """The text cut at single quotes that count: odd parts are quoted."""
    parts, inside, double = [""], False, False
    for char in raw:
        if char == '"' and not inside:
            double = not double
        if char == "'" and not double:
            inside = not inside
            parts.append("")
        else:
            parts[-1] += char
    return parts


def expand(text: str, scope: dict[str, str | None]) -> str:
    """A text with its variables put in, as far as they are known; the others stay as written."""

    def value(found: re.Match[str]) -> str:
        name, rest = found["plain"] or found["name"], found["rest"] or ""
        if not name:
            return found.group()
        known = scope.get(name)
        if known is None and (default := re.match(r":?[-=](.*)", rest)):
            return default[1]
        if known is None or (rest and rest[:2] not in (":-", ":=", ":?") and rest[0] not in "-=?"):
            return found.group()
        return known

    return _VARIABLE.sub(value, text)
