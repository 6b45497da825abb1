"""Which shape a file's rows have, told by the names and kinds of their fields."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tools.data.reading.fault import Fault
from tools.data.shapes import conversation, pairs, tasks, tree
from tools.data.shapes.base import How, Shape
from tools.data.shapes.template import BadTemplate, Template
from tools.recipe.operators.declared import NOT_FOR_CHATS
from tools.recipe.schema import Source

if TYPE_CHECKING:
    from tools.data.shapes.chat_form import ChatForm

SHAPES: dict[str, Shape] = {
    "pairs": pairs.pairs,
    "messages": conversation.messages,
    "sharegpt": conversation.messages,
    "turns": conversation.turns,
    "text": pairs.text,
    "tree": tree.tree,
    "mcq": tasks.mcq,
    "ni_task": tasks.ni_task,
    "quac": conversation.quac,
}
PROMPT, COMPLETION = "{prompt}", "{completion}"  # as the recipe's schema has them

_TALK = ("Question: {user}\nAnswer:", " {assistant}")
#: Shapes that have turns: these can be written in a chat template.
CHATS = ("pairs", "messages", "sharegpt", "turns", "tree", "quac")

_DEFAULTS = {
    "pairs": (PROMPT, COMPLETION),
    "messages": _TALK,
    "sharegpt": _TALK,
    "turns": _TALK,
    "tree": _TALK,
    "quac": _TALK,
    "text": ("", "{text}"),
    "mcq": ("", ""),
    "ni_task": ("{definition}\n\n{input}\n", "{output}"),
}

# Columns of pairs by the names that sets of instructions use, the likeliest first.
_ASKED = ("prompt", "instruction", "question", "inputs", "query", "problem", "input", "q")
_MORE = ("input", "context")
_SAID = (
    "completion",
    "response",
    "output",
    "answer",
    "targets",
    "target",
    "solution",
    "summary",
    "a",
)
_CONVERSATIONS = ("messages", "conversations", "conversation", "turns")
_CHOICES = ("choices", "options", "endings", "ans0")


def how(
    source: Source,
    rows: Sequence[dict[str, Any]],
    seed: str = "",
    chat: "ChatForm | None" = None,
) -> How:
    """How a source's rows are read.

    Args:
        source: as the recipe has it; what it leaves out is told by the rows.
        rows: the first ones; none where the source is not of files.
        seed: of what a shape draws.
        chat: the model's chat template, where the source's turns are written in it.

    Raises:
        Fault: the rows have no shape that is known, or one without turns where these are wanted.
        BadTemplate: a template cannot be read.
    """
    own = (source.prompt, source.completion) != (PROMPT, COMPLETION)
    shape: str = source.shape
    why = ""
    if not shape and source.kind != "local":
        shape = "pairs"
    elif not shape:
        shape, why = ("pairs", "") if own and _templates_fit(source, rows) else _shape(rows)
    templates = (source.prompt, source.completion)
    if not own:
        templates = _DEFAULTS[shape]
    if not own and shape == "pairs" and source.kind == "local" and rows:
        templates, why = _pair(rows[0], _is_chat(source))
    if _is_chat(source) and shape not in CHATS:
        raise Fault(_no_turns("WHERE", shape), whole=True)
    prompt, completion = (Template(text) for text in templates)
    told = f"shape {shape}" + (f", by {why}" if why else "")
    if chat:
        told += "; turns in the model's chat template"
    if why and shape not in ("mcq", "text") and (shape == "pairs" or not chat):
        told += f': prompt "{_one_line(prompt.text)}", completion "{_one_line(completion.text)}"'
    columns, learn, language = source.columns, source.learn, source.language
    return How(shape, prompt, completion, columns, learn, language, seed, told, chat)


def _no_turns(where: str, shape: str) -> str:
    return f"{where}.form: shape {shape} has no turns for a chat template; leave form out"


def form(source: Source) -> str:
    """The template of a source's prompts, as far as that can be told without a row."""
    if source.kind == "generator" or source.shape == "mcq":
        return "Question: {question}\nAnswer:"
    if _is_chat(source):
        return "{messages}"
    if (source.prompt, source.completion) != (PROMPT, COMPLETION):
        return source.prompt
    return _DEFAULTS[source.shape or "pairs"][0]


def _templates_fit(source: Source, rows: Sequence[dict[str, Any]]) -> bool:
    """Whether the recipe's templates are over columns of the rows, not over parts of a shape."""
    fields = Template(source.prompt).fields | Template(source.completion).fields
    return not rows or bool(fields & set(rows[0])) or not fields & {"user", "assistant"}


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n")


def _shape(rows: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """The shape and what it was told by."""
    row = rows[0] if rows else {}
    if isinstance(row.get("prompt"), dict) and "replies" in row["prompt"]:
        return "tree", "field prompt with replies"
    if {"message_id", "parent_id", "text", "role"} <= row.keys():
        return "tree", "fields message_id and parent_id"
    if {"Definition", "Instances"} <= row.keys():
        return "ni_task", "fields Definition and Instances"
    if "paragraphs" in row or {"questions", "context"} <= row.keys() or _is_quac(row):
        return "quac", "its passages and questions"
    for name in _CONVERSATIONS:
        if found := _talk(row.get(name)):
            return found, f"field {name}"
    if any(isinstance(row.get(name), list | dict) for name in _CHOICES) or "ans1" in row:
        return "mcq", "its choices"
    if isinstance(row.get("text"), str) and not any(name in row for name in (*_ASKED, *_SAID)):
        return "text", "field text"
    return "pairs", "its columns"


def _is_quac(row: dict[str, Any]) -> bool:
    data = row.get("data")
    return isinstance(data, list) and bool(data) and "paragraphs" in data[0]


def _talk(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return ""
    if isinstance(value[0], str):
        return "turns"
    if isinstance(value[0], dict):
        return "sharegpt" if "from" in value[0] else "messages" if "role" in value[0] else ""
    return ""


def _pair(row: dict[str, Any], chat: bool) -> tuple[tuple[str, str], str]:
    """Templates for pairs, by the names of a row's columns; a chat's turns have no labels."""
    asked = next((name for name in _ASKED if name in row), "")
    said = next((name for name in _SAID if name in row and name != asked), "")
    if not asked or not said:
        some = ", ".join(row)[:300]
        lacking = "question" if not asked else "answer"
        raise Fault(
            f"which column holds the {lacking}? The row has {some}; write the source's prompt and "
            'completion as templates over them, such as prompt: "Question: {NAME}\\nAnswer:" and '
            'completion: " {NAME}"',
            whole=True,
        )
    by = f"its columns {asked} and {said}"
    if (asked, said) == ("prompt", "completion"):
        return (PROMPT, COMPLETION), by
    more = next((name for name in _MORE if name in row and name != asked), "")
    optional = f"\n{{{more}?}}" if more else ""
    if chat:
        return (f"{{{asked}}}{optional}", f"{{{said}}}"), by
    return (f"Question: {{{asked}}}{optional}\nAnswer:", f" {{{said}}}"), by


def template_faults(name: str, source: Source) -> list[str]:
    """What is wrong with the recipe's own templates, without a row."""
    found = []
    for key in ("prompt", "completion"):
        try:
            Template(getattr(source, key))
        except BadTemplate as error:
            found.append(f"data.sources.{name}.{key}: {error}")
    return found + (_chat_faults(f"data.sources.{name}", source) if _is_chat(source) else [])


def _is_chat(source: Source) -> bool:
    return source.form == "chat_template"


def _chat_faults(where: str, source: Source) -> list[str]:
    """What does not go together with turns in a chat template."""
    shape, found = source.shape or ("" if source.kind == "local" else "pairs"), []
    if shape and shape not in CHATS:
        found.append(_no_turns(where, shape))
    own = (source.prompt, source.completion) != (PROMPT, COMPLETION)
    if own and shape not in ("", "pairs"):
        found.append(f"{where}.prompt: the chat template writes the turns; leave the templates out")
    if source.answer not in ("", "text", "none"):
        found.append(
            f"{where}.answer: {source.answer}: a chat is asked without examples, its answer scored "
            "as text; say text or none"
        )
    for at, step in enumerate(source.operators):
        if "score" in step and step["score"].by == "base":
            key = f"{where}.operators[{at}].score.by"
            found.append(f"{key}: base: a base model is asked texts, no chats; score them plain")
        for name in step.keys() & NOT_FOR_CHATS.keys():
            key = f"{where}.operators[{at}].{name}"
            found.append(f"{key}: not for form: chat_template: {NOT_FOR_CHATS[name]}; remove it")
    return found
