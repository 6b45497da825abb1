"""Messages to prompts: the same text and ids as transformers gives."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from serve.chat import ChatTemplate, NoPrompt
from serve.openai import Endpoints
from serve.openai_requests import ChatRequest
from serve.text import TextCodec
from tests.serve.conftest import TOKENIZERS

CHATML = """\
{%- if messages[0].role == "system" %}
    {%- set rest = messages[1:] %}
    {{- "System: " + messages[0].content + "\\n" }}
{%- else %}
    {%- set rest = messages %}
{%- endif %}
{%- for message in rest %}
    {%- if message.role not in ("user", "assistant") %}
        {{- raise_exception("no role " + message.role) }}
    {%- endif %}
    {{- bos_token | default("") + message.role + ": " }}
    {{- message.content | trim + eos_token + "\\n" }}
    {%- if loop.index > 20 %}{% break %}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ "assistant:" }}{% endif %}
"""
MESSAGES = [
    {"role": "system", "content": "Be <b>brief</b> & kind."},
    {"role": "user", "content": "  Hello, 東京 <|im_end|> </s>!\n"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "Bye"},
]


@pytest.fixture(params=sorted(TOKENIZERS))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A tokenizer of each kind with that template."""
    tokenizer: PreTrainedTokenizerFast = TOKENIZERS[request.param]()
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def chat(messages: list[dict[str, Any]]) -> ChatRequest:
    return ChatRequest.model_validate({"messages": messages})


@pytest.mark.parametrize("count", [1, 2, 4])
def test_ids_are_those_of_transformers(folder: Path, count: int) -> None:
    theirs = AutoTokenizer.from_pretrained(folder)
    messages = MESSAGES[-count:]
    text = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    template = ChatTemplate.load(folder)
    assert template.render(messages) == text
    endpoints = Endpoints(None, TextCodec.load(folder), template, "tiny")  # type: ignore[arg-type]
    ids = theirs(text, add_special_tokens=False).input_ids
    assert list(endpoints.chat_prompt(chat(messages))) == ids


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
        "{{ messages | tojson }}{{ tools }}{{ documents }}",
        "{{ messages | tojson(indent=1) }}",
        "{% for m in messages %}\n  {% if m.name is defined %}\n x\n{% endif %}\n{% endfor %} y",
        "{{ strftime_now('%Y') }}",
    ],
)
def test_what_templates_may_use(tmp_path: Path, template: str) -> None:
    tokenizer = TOKENIZERS["byte_level"]()
    tokenizer.chat_template = template
    expected = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    tokenizer.save_pretrained(tmp_path)
    assert ChatTemplate.load(tmp_path).render(MESSAGES) == expected


@pytest.mark.parametrize(
    "stored",
    ["hello", [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "hello"}]],
)
def test_templates_in_the_tokenizer_s_configuration(tmp_path: Path, stored: Any) -> None:
    config = {"chat_template": stored, "eos_token": {"content": "</s>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert ChatTemplate.load(tmp_path).render(MESSAGES) == "hello"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (None, "no chat template"),
        ("{{ raise_exception('no system message') }}", "no system message"),
        ("{% if %}", "refuses"),
        ("{{ messages[9].content.x }}", "refuses"),
        ("{{ messages.__class__.__mro__ }}", "refuses"),
        ("{{ 'a' + 1 }}", "refuses"),
        ("{{ 1 // 0 }}", "refuses these messages: ZeroDivisionError: "),
        ("{{ '{tools}'.format() }}", "refuses these messages: KeyError: 'tools'"),
        ("{{ '{}'.format() }}", "refuses these messages: IndexError: "),
        ("{{ messages | dictsort }}", "refuses these messages: AttributeError: "),
        ("{{ 9.0 ** 999 }}", "refuses these messages: OverflowError: "),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "RecursionError: "),
        ("{{ " + "(" * 999 + "1" + ")" * 999 + " }}", "refuses"),
    ],
)
def test_no_prompt(template: str | None, reason: str) -> None:
    with pytest.raises(NoPrompt, match=reason):
        ChatTemplate(template, {}).render(MESSAGES)


def test_a_folder_without_any(tmp_path: Path) -> None:
    with pytest.raises(NoPrompt, match=r"chat_template\.jinja"):
        ChatTemplate.load(tmp_path).render(MESSAGES)


@pytest.mark.parametrize("last", ["Hi", "Hi ", " Hi", ""])
@pytest.mark.parametrize("template", [CHATML, CHATML.replace(" | trim", "")])
def test_ends_of_a_prompt_are_those_of_transformers(
    tmp_path: Path, template: str, last: str
) -> None:
    tokenizer = TOKENIZERS["byte_level"]()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(tmp_path)
    ours, begun = ChatTemplate.load(tmp_path), [*MESSAGES, {"role": "assistant", "content": last}]
    for fields in ({"add_generation_prompt": False}, {"continue_final_message": True}):
        theirs = tokenizer.apply_chat_template(begun, tokenize=False, **fields)
        assert ours.render(begun, **fields) == theirs
    assert begun[-1]["content"] == last, "the messages are as they were"


def test_names_that_a_template_reads(tmp_path: Path) -> None:
    template = ChatTemplate("{{ enable_thinking }}{{ eos_token }}", {"eos_token": "</s>"})
    assert template.render(MESSAGES, enable_thinking=False) == "False</s>"


def test_a_template_that_cannot_be_gone_on_with() -> None:
    with pytest.raises(NoPrompt, match="does not end with the last message's content"):
        ChatTemplate("{{ messages[0].content }}", {}).render(MESSAGES, continue_final_message=True)
