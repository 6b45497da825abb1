"""The operators on rows that a recipe may list, and their options; ``tools.curate`` has the bodies.

``data.sources.NAME.operators`` is carried out on one source, ``data.operators`` on the mix; each is
a list of mappings of one key, carried out in order::

    operators:
      - filter: {max_words: 400}
      - near_dedup: {threshold: 0.8}
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from tools.recipe.yaml_map import KeyPath


@dataclass(frozen=True)
class Bound:
    """A bound of a number, in the words of JSON schema; annotated_types takes 20 ms to import.

    Attributes:
        word: ``minimum``, ``exclusiveMinimum`` or ``maximum``.
        number: the bound.
    """

    word: str
    number: float

    def __get_pydantic_json_schema__(self, core: Any, handler: Callable[[Any], Any]) -> Any:
        """Asked by pydantic, which writes the recipe's JSON schema."""
        return {**handler(core), self.word: self.number}


Text = Literal["prompt", "completion"]
Part = Literal["prompt", "completion", "both"]
Share = Annotated[float, Bound("exclusiveMinimum", 0), Bound("maximum", 1)]
Count = Annotated[int, Bound("minimum", 0)]  # 0: not given


@dataclass
class Allow:
    """Only rows stay whose field has one of some values.

    Attributes:
        column: the field.
        values: shell patterns, case and all: ``task13*`` is every task that begins so.
    """

    column: str
    values: list[str]


@dataclass
class Deny:
    """Rows leave whose field has one of some values.

    Attributes:
        column: the field.
        values: shell patterns, case and all: ``task13*`` is every task that begins so.
    """

    column: str
    values: list[str]


@dataclass
class Intersect:
    """Only rows stay whose field is a line of a file.

    Attributes:
        column: the field, such as an id.
        file: text, a value a line.
    """

    column: str
    file: str


@dataclass
class Strip:
    """What does not belong to a text is cut out.

    Attributes:
        what: ``citations`` (``[1]``, ``[2, 3]``, ``[a]``, ``[citation needed]``), ``calculator``
            (GSM8K's ``<<48/2=24>>``), ``tags`` (of HTML), ``blank_lines`` (two or more become one).
        columns: which texts.
    """

    what: list[Literal["citations", "calculator", "tags", "blank_lines"]]
    columns: list[Text] = field(default_factory=lambda: ["prompt", "completion"])


@dataclass
class Map:
    r"""A text or field is written otherwise.

    Attributes:
        column: ``prompt``, ``completion`` or a field.
        values: whole values and what stands for each; others stay.
        pattern: regular expression (Python's); all that it finds is replaced.
        to: by this; ``\1`` is the first group.
    """

    column: str
    values: dict[str, str] = field(default_factory=dict)
    pattern: str = ""
    to: str = ""


@dataclass
class AnswerFormat:
    r"""The completion in the one form that is scored; rows leave that cannot be brought to it.

    Attributes:
        format: ``letter`` (of ``B. Football`` and ``The answer is (B).`` only B), ``number`` (the
            last one, without commas), ``boxed`` (what the last ``\boxed{}`` holds), ``text`` (not
            blank, no blanks around it), ``json`` (valid, written on one line).
        unfit: ``drop`` the rows, or ``refuse`` the data.
    """

    format: Literal["letter", "number", "boxed", "text", "json"]
    unfit: Literal["drop", "refuse"] = "drop"


@dataclass
class Filter:
    """Rows stay that are within all bounds; a bound of 0 is none.

    Attributes:
        column: which text is measured.
        min_words: parted by blanks.
        max_words: parted by blanks.
        min_characters: of Unicode.
        max_characters: of Unicode.
        min_tokens: of ``tokenizer``.
        max_tokens: of ``tokenizer``.
        tokenizer: a ``tokenizer.json``, or the folder that has it.
        matches: regular expression (Python's) that must be found.
        lacks: regular expression that must not be found.
        language: such as ``en``; a text too short to tell stays.
    """

    column: Part = "both"
    min_words: Count = 0
    max_words: Count = 0
    min_characters: Count = 0
    max_characters: Count = 0
    min_tokens: Count = 0
    max_tokens: Count = 0
    tokenizer: str = ""
    matches: str = ""
    lacks: str = ""
    language: Literal["", "de", "en", "es", "fr", "it", "nl", "pl", "pt", "sv"] = ""


@dataclass
class Dedup:
    """Of rows that say the same but for case, blanks and closing marks, one stays.

    Attributes:
        by: what is compared.
        keep: the ``first``; the ``best`` (by ``score``, else the longest completion); or
            ``all_answers``: only rows with the same prompt and completion are duplicates.
    """

    by: Part = "both"
    keep: Literal["first", "best", "all_answers"] = "first"


@dataclass
class NearDedup:
    """Of rows that share most of their word n-grams, one stays. Rows of generators are left alone.

    Attributes:
        ngram: words in a gram.
        threshold: share of the grams of both that both have (Jaccard) from which they are twins.
        by: what is compared.
        keep: the ``first`` or the ``longest``.
    """

    ngram: Annotated[int, Bound("minimum", 1), Bound("maximum", 20)] = 3
    threshold: Share = 0.8
    by: Part = "both"
    keep: Literal["first", "longest"] = "first"


@dataclass
class Decontaminate:
    """Rows that hold a question of the evaluation are found, by the rule of ``make eval``.

    Attributes:
        helm: against the files that the entries of ``eval.tier`` read.
        files: against these, too: JSON lines (the fields ``question``, ``prompt``, ``input`` or
            ``text``), or plain text, a question a line.
        found: ``drop`` such rows, or ``refuse`` the data.
    """

    helm: bool = True
    files: list[str] = field(default_factory=list)
    found: Literal["drop", "refuse"] = "drop"


@dataclass
class Score:
    """Each row gets a number, for ``sample`` and ``dedup`` to go by.

    Attributes:
        by: ``length`` (words of the completion), ``rouge_l`` (F1 of the completion's longest common
            subsequence of words with that of ``against``), or ``base`` (what the base model answers
            to the prompt, greedily: 1 or 0 where the completion is a letter, a number or at most 8
            words on a line, else ROUGE-L), for which the day's clock runs.
        against: the field with the other text.
    """

    by: Literal["length", "rouge_l", "base"]
    against: str = ""


@dataclass
class Sample:
    """Some of the rows, drawn by the seed.

    Attributes:
        n: how many; 0: ``share`` or ``below`` decides.
        share: or what part; 0: not given.
        by: a field: as many rows of each of its values, as far as there are.
        order: ``random``, or those of the ``highest`` or ``lowest`` score.
        below: only rows whose score is lower: what the model that was scored got wrong.
    """

    n: Count = 0
    share: Annotated[float, Bound("minimum", 0), Bound("maximum", 1)] = 0.0
    by: str = ""
    order: Literal["random", "highest", "lowest"] = "random"
    below: float | None = None


@dataclass
class Augment:
    """Prompts are written otherwise; the answer stays right.

    Attributes:
        kind: ``option_order`` (lines ``A. …``, ``B. …`` change places, and the letter with them),
            ``lower_case``, ``few_shot`` (other rows of the source stand before the prompt).
        share: of the rows.
        shots: most rows before a prompt; how many is drawn, from 0.
        beside: the row as it was stays, too.
        pattern: regular expression (Python's); ``lower_case`` writes only what it finds so, and
            leaves the template around it.
    """

    kind: Literal["option_order", "lower_case", "few_shot"]
    share: Share = 1.0
    shots: Annotated[int, Bound("minimum", 1), Bound("maximum", 5)] = 3
    beside: bool = False
    pattern: str = ""


@dataclass
class Repeat:
    """Each row several times, one behind the other.

    Attributes:
        times: how often it is there then.
    """

    times: Annotated[int, Bound("minimum", 2), Bound("maximum", 100)]


@dataclass
class Split:
    """A part of the rows that never changes with their order or number.

    The prompt's hash says where between 0 and 1 a row lies; equal prompts lie together. Two recipes
    with 0 to 0.9 and 0.9 to 1 share no prompt.

    Attributes:
        start: rows stay from here.
        stop: up to here.
    """

    start: Annotated[float, Bound("minimum", 0), Bound("maximum", 1)] = 0.0
    stop: Annotated[float, Bound("minimum", 0), Bound("maximum", 1)] = 1.0


@dataclass
class Fingerprint:
    """The SHA-256 of all prompts and completions in their order, kept in the stage's record.

    Attributes:
        expect: what it must begin with; others are refused.
    """

    expect: str = ""


class Step(TypedDict, total=False):
    """One operator of a list and its options."""

    allow: Allow
    deny: Deny
    intersect: Intersect
    strip: Strip
    map: Map
    answer_format: AnswerFormat
    filter: Filter
    dedup: Dedup
    near_dedup: NearDedup
    decontaminate: Decontaminate
    score: Score
    sample: Sample
    augment: Augment
    repeat: Repeat
    split: Split
    fingerprint: Fingerprint


OPERATORS = tuple(Step.__annotations__)
#: What makers give is right by construction and told apart by one word: these leave it alone.
NOT_FOR_MAKERS = {
    "strip": "a maker's rows are written as they shall be",
    "map": "a maker's rows are written as they shall be",
    "answer_format": "a maker's answers have their form",
    "near_dedup": "a maker's questions differ by a word, and most would go",
    "augment": "raise data.shots for examples before a question",
    "repeat": "raise its rows: a maker never ends",
}
#: A chat's text is the template's, its marks and all: these would write over them.
NOT_FOR_CHATS = dict.fromkeys(
    ("strip", "map", "answer_format", "augment"),
    "it would write over the chat template's own marks",
)


def asks_base(mix: list[Step], sources: Mapping[str, Any]) -> bool:
    """Whether an operator wants answers of the base model."""
    steps = [step for _, some in lists(mix, sources) for step in some]
    return any("score" in step and step["score"].by == "base" for step in steps)


def lists(mix: list[Step], sources: Mapping[str, Any]) -> Iterator[tuple[KeyPath, list[Step]]]:
    """Every list of operators with its key: those of the sources, and of the mix.

    Args:
        mix: ``data.operators``.
        sources: ``data.sources``.
    """
    for name, source in sources.items():
        yield ("data", "sources", name, "operators"), source.operators
    yield ("data", "operators"), mix


def files(steps: list[Step]) -> Iterator[tuple[KeyPath, str]]:
    """The local files that operators read: where below the list each is named, and its path."""
    for index, step in enumerate(steps):
        for name, options in step.items():
            for one in fields(options):  # type: ignore[arg-type]
                value = getattr(options, one.name)
                if one.name in ("file", "tokenizer") and value:
                    yield (index, name, one.name), value
                elif one.name == "files":
                    yield from (((index, name, "files", at), path) for at, path in enumerate(value))


def opened(path: Path) -> Path:
    """The file that is read where a path may be a tokenizer's folder."""
    return path / "tokenizer.json" if path.is_dir() else path
