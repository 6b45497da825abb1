"""Messages to a prompt, by the model's own chat template.

Rendered as ``transformers`` renders it (``utils/chat_template_utils.py`` of 5.20.1), without
importing it: the process that answers HTTP has neither torch nor the seconds it takes.
"""

import datetime
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

#: Special tokens that templates may name.
_SPECIAL = tuple(f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))

NO_TEMPLATE = (
    "this model has no chat template: send its prompt to /v1/completions, or put a"
    " chat_template.jinja into the model's folder"
)

#: Stands at the end of a last message that is to be gone on with; its space shows who trims.
_MARK = "CONTINUE_FINAL_MESSAGE_TAG "

_REFUSES = "the model's chat template refuses these messages"


class NoPrompt(ValueError):
    """The messages cannot be made a prompt; the message says why."""


class _Generation(jinja2.ext.Extension):
    """``{% generation %}`` marks what a model is trained on; here only its content counts."""

    tags = {"generation"}  # noqa: RUF012  (jinja2 declares it so)

    def parse(self, parser: Any) -> Any:
        """The block's content."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """One model's chat template.

    Args:
        source: its text; None: the model has none.
        tokens: texts of the special tokens, by the names that templates know.
    """

    def __init__(self, source: str | None, tokens: dict[str, str]) -> None:
        self._source, self._tokens = source, tokens

    @classmethod
    def load(cls, model_dir: Path) -> "ChatTemplate":
        """Reads ``chat_template.jinja``, or what ``tokenizer_config.json`` has of one."""
        config = _read_json(model_dir / "tokenizer_config.json")
        tokens = {name: _text(config[name]) for name in _SPECIAL if config.get(name)}
        file = model_dir / "chat_template.jinja"
        if file.is_file():
            return cls(file.read_text(encoding="utf-8"), tokens)
        stored = config.get("chat_template")
        if isinstance(stored, list):  # several, by name
            stored = {entry["name"]: entry["template"] for entry in stored}.get("default")
        return cls(stored, tokens)

    @property
    def is_there(self) -> bool:
        """Whether the model has one."""
        return self._source is not None

    @property
    def source(self) -> str | None:
        """Its text; None where the model has none."""
        return self._source

    def render(
        self,
        messages: list[dict[str, Any]],
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        **names: Any,
    ) -> str:
        """The prompt that asks for the next message.

        Args:
            messages: ``role``, ``content`` and whatever else the template reads.
            add_generation_prompt: end with what begins an answer.
            continue_final_message: end with the last message's content, which the answer goes on.
            names: what else the template may read, such as ``enable_thinking``.

        Raises:
            NoPrompt: there is no template, it is broken, or it refuses these messages.
        """
        if self._source is None:
            raise NoPrompt(NO_TEMPLATE)
        if continue_final_message:
            last = messages[-1] | {"content": (messages[-1].get("content") or "") + _MARK}
            messages = [*messages[:-1], last]
        try:
            text = self._template.render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt and not continue_final_message,
                **self._tokens | names,
            )
        except jinja2.TemplateError as error:
            raise NoPrompt(f"{_REFUSES}: {error}") from None
        except Exception as error:
            # What a template computes raises Python's own, whose text alone may be just a key.
            raise NoPrompt(f"{_REFUSES}: {type(error).__name__}: {error}") from None
        return _before_mark(text) if continue_final_message else text

    @cached_property
    def _template(self) -> jinja2.Template:
        # Sandboxed: a template is code that came with somebody's weights.
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, jinja2.ext.loopcontrols],
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
        assert self._source is not None
        return environment.from_string(self._source)


def _before_mark(text: str) -> str:
    """The text up to the mark; a template that trims contents takes the space before it, too."""
    head, mark, tail = text.rpartition(_MARK.strip())
    if not mark:
        raise NoPrompt("the model's chat template does not end with the last message's content")
    return head if tail.startswith(_MARK[len(mark) :]) else head.rstrip()


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is; jinja2's own filter would escape it for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _text(token: Any) -> str:
    """A special token: a string, or a dict with its ``content``."""
    return str(token["content"] if isinstance(token, dict) else token)
