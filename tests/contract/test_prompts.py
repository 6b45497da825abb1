"""Prompts of all kinds: empty, long, with special tokens, in any script."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.conftest import Client, Oracle, assert_same


@pytest.mark.parametrize("fields", [{}, {"echo_prompt": True}, {"max_new_tokens": 0}], ids=str)
def test_empty_prompt(client: Client, fields: dict[str, Any]) -> None:
    answer = client.process("", **fields)
    assert bool(answer["text"]) == ("max_new_tokens" not in fields)


def test_empty_prompt_where_nothing_starts_a_text(clients: Callable[[str], Client]) -> None:
    """A tokenizer without BOS and EOS."""
    assert len(clients("small").process("")["tokens"]) == 8


def test_scoring_an_empty_prompt(client: Client) -> None:
    answer = client.process("", echo_prompt=True, max_new_tokens=0)
    assert (answer["text"], answer["tokens"], answer["logprob"]) == ("", [], 0)


@pytest.mark.parametrize(
    "prompt",
    [
        " leading space",
        "trailing space ",
        "\n\n",
        "\ttab\r\n",
        "Hello , world .",
        "a\x00b",
        "café 東京 😀 e\u0301",
        "\u202eright to left \u0634\u0643\u0631\u0627",
        "\U0010ffff\ufeff",
        "{prompt} {x} %s \\n \\ud83d",
        '"quoted" \\ back',
    ],
)
def test_any_text_is_echoed_as_sent(client: Client, prompt: str) -> None:
    answer = client.process(prompt, echo_prompt=True, max_new_tokens=1)
    assert answer["text"].startswith(prompt)
    assert answer["truncated_tokens"] == 0


@pytest.mark.parametrize("prompt", ["<s>The", "a</s>b", "<unk>", "x<|im_end|>", "<|endoftext|>y"])
def test_special_tokens_in_a_prompt_are_text(client: Client, prompt: str) -> None:
    answer = client.process(prompt, echo_prompt=True, max_new_tokens=0)
    assert answer["text"] == prompt
    assert max(len(token["text"]) for token in answer["tokens"]) < 5, "spelt, not one token"


def test_one_bos(client: Client, oracle: Oracle) -> None:
    """The answer is that of one BOS where the tokenizer has it, else of none."""
    lead = oracle.text.encode_prompt("The").lead
    ids = [*[1] * lead, *oracle.text.encode("The")]
    answer = client.process("The", max_new_tokens=1, top_k_per_token=1)
    (token,) = answer["tokens"]
    assert token["logprob"] == pytest.approx(float(oracle.logprobs(ids)[-1].max()), abs=1e-4)


def test_special_tokens_are_read_where_the_recipe_says_so(
    clients: Callable[[str], Client], oracles: Callable[[str], Oracle]
) -> None:
    client, oracle = clients("strict"), oracles("strict")
    answer = client.process("a</s>b", echo_prompt=True, max_new_tokens=0)
    assert "</s>" in [token["text"] for token in answer["tokens"]]
    assert answer["text"] == "a</s>b"
    ids = list(oracle.text.encode_prompt("a</s>b", parse_special=True).ids)
    assert [token["logprob"] for token in answer["tokens"]] == pytest.approx(
        [0.0, *oracle.scores(ids, 2)], abs=1e-4
    )


def test_a_written_bos_is_the_one_bos_there(clients: Callable[[str], Client]) -> None:
    client = clients("strict")
    written = client.process("<s>The capital", max_new_tokens=4)
    assert_same(written["tokens"], client.process("The capital", max_new_tokens=4)["tokens"])
    echoed = client.process("<s>The capital", echo_prompt=True, max_new_tokens=0)
    assert echoed["text"] == "<s>The capital"
    assert echoed["tokens"][0] == {"text": "<s>", "logprob": 0.0, "top_logprob": {}}


def test_tokenize_and_decode_there_still_take_them_as_text(
    clients: Callable[[str], Client],
) -> None:
    client = clients("strict")
    assert client.decode(client.tokenize("<s>a</s>")) == "<s>a</s>"


def of_length(client: Client, count: int) -> str:
    """A prompt of exactly so many tokens."""
    tokens = client.tokenize("The capital of France is Paris. " * count)[:count]
    text = client.decode(tokens)
    assert len(client.tokenize(text)) == count
    return text


def test_a_prompt_that_just_fits(clients: Callable[[str], Client]) -> None:
    client = clients("prepend")  # 64 tokens, one of them BOS
    answer = client.process(of_length(client, 63), echo_prompt=True, max_new_tokens=0)
    assert (len(answer["tokens"]), answer["truncated_tokens"]) == (63, 0)
    answer = client.process(of_length(client, 60), max_new_tokens=3)
    assert answer["truncated_tokens"] == 0


@pytest.mark.parametrize(("length", "new"), [(64, 0), (63, 1), (61, 3), (200, 8)])
def test_a_prompt_that_does_not_fit_loses_its_head(
    clients: Callable[[str], Client], oracles: Callable[[str], Oracle], length: int, new: int
) -> None:
    client, oracle = clients("prepend"), oracles("prepend")
    prompt = of_length(client, length)
    answer = client.process(prompt, echo_prompt=True, max_new_tokens=new)
    assert answer["truncated_tokens"] == 1 + length + new - 64
    kept = 63 - new
    assert prompt.endswith("".join(token["text"] for token in answer["tokens"][1:kept]))
    ids = [1, *oracle.text.encode(prompt)[-kept:]]
    assert [token["logprob"] for token in answer["tokens"][1:kept]] == pytest.approx(
        oracle.scores(ids, 2), abs=1e-4
    )


def test_a_long_completion_leaves_half_of_the_context_to_the_prompt(
    clients: Callable[[str], Client],
) -> None:
    client = clients("prepend")
    answer = client.process(of_length(client, 60), max_new_tokens=10**30)
    assert answer["truncated_tokens"] == 1 + 60 + 32 - 64
    assert len(answer["tokens"]) <= 32
    short = client.process("The", max_new_tokens=10**30)
    assert short["truncated_tokens"] == 0


@pytest.mark.parametrize(("length", "new"), [(64, 0), (60, 4), (3, 10**6)])
def test_or_is_refused_with_figures(
    clients: Callable[[str], Client], length: int, new: int
) -> None:
    client = clients("strict")
    body = {"prompt": of_length(client, length), "max_new_tokens": new, "echo_prompt": True}
    response = client.post("/process", body)
    assert response.status_code == 422
    (fault,) = response.json()["detail"]
    assert fault["loc"] == ["body", "prompt"]
    for figure in (length + 1, new, length + 1 + new, 64):
        assert str(figure) in fault["msg"]


def test_just_fits_where_it_would_be_refused(clients: Callable[[str], Client]) -> None:
    client = clients("strict")
    assert client.process(of_length(client, 60), max_new_tokens=3)["truncated_tokens"] == 0


def test_a_prompt_of_2000_tokens(plain: Client, oracles: Callable[[str], Oracle]) -> None:
    """Over the byte-level server's context of 2,048 by nothing, in several prefill steps."""
    oracle = oracles("byte_level")
    prompt = of_length(plain, 2000)
    answer = plain.process(prompt, echo_prompt=True, max_new_tokens=3)
    assert (len(answer["tokens"]), answer["truncated_tokens"]) == (2003, 0)
    ids = oracle.text.encode(prompt)
    assert [token["logprob"] for token in answer["tokens"][1:2000]] == pytest.approx(
        oracle.scores(ids, 1), abs=1e-4
    )
    assert [token["text"] for token in answer["tokens"][2000:]] == oracle.pieces(
        oracle.greedy(prompt, 3)
    )


def test_shared_prefixes_change_no_answer(plain: Client, oracles: Callable[[str], Oracle]) -> None:
    """As HELM's few-shot prompts: a long common head, the same one asked again, one a prefix."""
    oracle = oracles("byte_level")
    head = "Question: What is two plus two?\nAnswer: B\n\n" * 12
    prompts = [head + tail for tail in ("Q1: Rome?", "Q2: Paris?", "", "Q1: Rome?", "Q1: Ro")]
    for prompt in prompts:
        answer = plain.process(prompt, max_new_tokens=3)
        ids = oracle.greedy(prompt, 3)
        length = len(oracle.text.encode(prompt))
        assert [token["text"] for token in answer["tokens"]] == oracle.pieces(ids)
        assert [token["logprob"] for token in answer["tokens"]] == pytest.approx(
            oracle.scores(oracle.text.encode(prompt) + ids, length), abs=1e-4
        )
