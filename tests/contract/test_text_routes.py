"""/tokenize and /decode: HELM cuts prompts with them, so they must be exact."""

from collections.abc import Callable

import pytest

from tests.contract.conftest import Client, Oracle

TEXTS = [
    "",
    " ",
    " leading",
    "two  spaces",
    "\n\nA. x\nB. y",
    "Hello , world .",
    "it 's",
    "tab\tand\r\n",
    "café 東京 😀 e\u0301 \ufb01",
    "<s>a</s><|im_end|><unk>",
    "\x00",
    "a" * 9000,
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text)[:20])
def test_round_trip(client: Client, text: str) -> None:
    assert client.decode(client.tokenize(text)) == text


def test_no_special_token_is_added(client: Client, oracle: Oracle) -> None:
    tokens = client.tokenize("The capital")
    assert tokens == oracle.text.encode("The capital")
    assert not {0, 1, 2} & set(tokens)


def test_fields_of_the_answers(client: Client) -> None:
    answer = client.post("/tokenize", {"text": "The"}).json()
    assert set(answer) == {"tokens", "request_time"} and answer["request_time"] >= 0
    answer = client.post("/decode", {"tokens": answer["tokens"]}).json()
    assert set(answer) == {"text", "request_time"}


@pytest.mark.parametrize("length", [0, 1, 3, 2048])
def test_truncation_cuts_to_max_length(client: Client, length: int) -> None:
    text = "The capital of France is Paris. " * 10
    whole = client.tokenize(text)
    assert client.tokenize(text, truncation=True, max_length=length) == whole[:length]


def test_no_truncation_never_cuts(client: Client) -> None:
    """HELM sends max_length all the same."""
    text = "word " * 3000
    assert client.tokenize(text, truncation=False, max_length=1) == client.tokenize(text)
    assert len(client.tokenize(text)) > 2048


def test_default_is_to_cut_at_2048(client: Client) -> None:
    answer = client.post("/tokenize", {"text": "word " * 3000}).json()
    assert len(answer["tokens"]) == 2048
    nulls = {"text": "word " * 3000, "truncation": None, "max_length": None}
    assert client.post("/tokenize", nulls).json()["tokens"] == answer["tokens"]


def test_helm_s_truncation_of_a_prompt(client: Client) -> None:
    """It tokenizes, decodes the first n and asks again until no more than n are left."""
    text = "Question: What is two plus two?\n\n Answer: B " * 30
    cut = client.decode(client.tokenize(text)[:100])
    assert text.startswith(cut)
    assert len(client.tokenize(cut)) == 100


def test_decoding_in_the_middle_of_a_character(client: Client) -> None:
    tokens = client.tokenize("x\U0001b000")
    assert client.decode(tokens[:-1]) == "x\ufffd"
    assert client.decode([]) == ""


def test_special_tokens_decode_to_nothing(client: Client, oracle: Oracle) -> None:
    tokens = client.tokenize("The capital")
    assert client.decode([1, *tokens]) == "The capital"


@pytest.mark.parametrize("bad", [-1, 420 + 10**4, 2**31, 2**63, 10**40])
def test_ids_out_of_range_are_refused_by_place(client: Client, bad: int) -> None:
    response = client.post("/decode", {"tokens": [5, bad]})
    assert response.status_code == 422
    (fault,) = response.json()["detail"]
    assert fault["loc"] == ["body", "tokens", 1]


def test_rows_of_the_model_without_an_entry_are_refused(client: Client, oracle: Oracle) -> None:
    rows = oracle.model.config.vocab_size
    assert client.post("/decode", {"tokens": [rows - 1]}).status_code == 422


def test_many_faults_are_not_all_listed(plain: Client) -> None:
    response = plain.post("/decode", {"tokens": [10**6] * 1000})
    assert response.status_code == 422 and len(response.json()["detail"]) == 10


def test_long_texts(plain: Client) -> None:
    text = "The capital of 東京 is Paris. " * 8000  # 250 thousand characters
    assert plain.decode(plain.tokenize(text)) == text


def test_every_kind_of_character(client: Client) -> None:
    every = [c for c in range(1, 0x110000, 97) if not 0xD800 <= c < 0xE000]
    text = "".join(map(chr, every)).replace("\u2581", "")
    assert client.decode(client.tokenize(text)) == text


def test_the_same_tokens_as_process_reads(clients: Callable[[str], Client], kind: str) -> None:
    client = clients(kind)
    answer = client.process("  The capital\n", echo_prompt=True, max_new_tokens=0)
    assert len(answer["tokens"]) == len(client.tokenize("  The capital\n"))
