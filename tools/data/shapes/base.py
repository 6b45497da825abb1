"""What a shape is given and what it makes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tools.data.reading.fault import Fault
from tools.data.reading.json_rows import Record
from tools.data.shapes.template import Template
from tools.data.skills import Question
from tools.recipe.faults import nearest

if TYPE_CHECKING:
    from tools.data.shapes.chat_form import ChatForm

Segment = tuple[bool, str]  # whether it is learnt, and the text
Exchange = tuple[str, str | None]  # what was said, and the answer, if there was one


class Made(NamedTuple):
    """One row to learn.

    Attributes:
        number: of the record that it came from.
        prompt: all that stands before the last learnt text.
        completion: the last learnt text.
        question: where HELM can ask it as one of its own.
        segments: of several turns; none where prompt and completion are all.
    """

    number: int
    prompt: str
    completion: str
    question: Question | None = None
    segments: tuple[Segment, ...] = ()


Leave = Callable[[str, int], None]  # tells why a row leaves, and which


@dataclass(frozen=True)
class How:
    """How the records of a source are read.

    Attributes:
        shape: name in ``SHAPES`` of ``tools.data.shapes.registry``.
        prompt: template of what the model is given.
        completion: template of what it learns to give.
        columns: the recipe's names of columns by the shape's.
        learn: which answers of a conversation are learnt: ``all`` or ``last``.
        language: of the messages that are taken; empty: all.
        seed: of what the shape draws.
        told: how this was decided, where the recipe does not say.
        chat: the model's chat template, where turns are written in it.
    """

    shape: str
    prompt: Template
    completion: Template
    columns: dict[str, str]
    learn: str = "all"
    language: str = ""
    seed: str = ""
    told: str = ""
    chat: "ChatForm | None" = None

    def column(self, row: dict[str, Any], *names: str) -> str:
        """The column of a row that plays a part: as the recipe says, or the first that is there.

        Raises:
            Fault: it is not there.
        """
        chosen = self.columns.get(names[0])
        for name in [chosen] if chosen else names:
            if name in row:
                return name
        wanted = chosen or names[0]
        said = f"no field {wanted!r} for shape {self.shape}{nearest(wanted, row)}"
        raise Fault(
            f"{said}; the row has {', '.join(row)[:300]}; name it by columns: {{{names[0]}: …}}"
        )


Shape = Callable[[Iterator[Record], How, Leave], Iterator[Made]]


def texts(value: Any, name: str) -> Sequence[str]:
    """A list of texts.

    Raises:
        Fault: it is another thing.
    """
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Fault(f"field {name!r} is no list of texts")
    return value
