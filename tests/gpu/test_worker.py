"""The worker on a card: real processes, small random models in bfloat16 and NF4.

In bfloat16 a kernel for another number of rows rounds otherwise. So answers are compared along the
text that they share, and where they part, both tokens must have been about equally likely; what
``deterministic`` promises is held to the letter. What a worker answers, field by field, is for
``tests/contract`` to ask, on a card too.
"""

import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import torch
from prometheus_client.parser import text_string_to_metric_families
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from serve.text import TextCodec
from tests.contract.conftest import Oracle, assert_same, checked
from tests.serve.conftest import RunningServer, _start_server, byte_level_tokenizer, save_model

DEVICE = "cuda"

#: Of a log-probability. These models' differ between bfloat16 and float32 by 0.03 (root mean
#: square) and 0.15 (most of 166,000); two passes in bfloat16, or of NF4, may differ by twice that.
TOLERANCE, SPREAD = 0.3, 0.06

PROMPT = "Question: What is two plus two?\nA. 3\nB. 4\nAnswer: B\n\n" * 3
Body = dict[str, Any]


def save_bfloat16(folder: Path) -> None:
    """A model of some millions of weights, heads as wide as real ones."""
    shape = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4}
    tokenizer = byte_level_tokenizer()
    save_model(folder, tokenizer, **shape, initializer_range=0.05, max_position_embeddings=2048)
    model, text = load(folder), TextCodec.load(folder)
    texts = [text.token_bytes(i).decode("utf-8", "replace") for i in range(len(tokenizer))]
    # Greedy answers are made of whole characters, so that one text is one token, and never end.
    unwanted = [i for i, piece in enumerate(texts) if not piece or "\ufffd" in piece]
    head = model.get_output_embeddings().weight.data
    head *= 3  # uneven enough for greedy text to vary
    head[[*unwanted, tokenizer.eos_token_id]] = 0
    model.save_pretrained(folder)


def save_nf4(folder: Path) -> None:
    """The same, as the quantize stage writes it."""
    save_bfloat16(folder)
    how = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    load(folder, torch.bfloat16, quantization_config=how).save_pretrained(folder)


def load(folder: Path, dtype: Any = torch.bfloat16, **options: Any) -> Any:
    """The folder's model by transformers alone."""
    torch.backends.cuda.enable_cudnn_sdp(False)  # it builds a plan for each new length
    made = AutoModelForCausalLM.from_pretrained
    return made(folder, dtype=dtype, device_map={"": DEVICE}, **options).eval()


@dataclass(frozen=True)
class Kind:
    """A server: how its model is saved, and its settings."""

    save: Callable[[Path], None]
    settings: dict[str, Any] = field(default_factory=dict)


KINDS = {
    "bfloat16": Kind(save_bfloat16),
    "nf4": Kind(save_nf4),
    "deterministic": Kind(save_bfloat16, {"deterministic": True}),
    "leaving": Kind(save_bfloat16),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models and logs are."""
    return tmp_path_factory.mktemp("card")


@pytest.fixture(scope="module")
def servers(root: Path) -> Iterator[dict[str, RunningServer]]:
    """One of each kind; they load side by side."""
    with ExitStack() as running:
        started = {}
        for name, kind in KINDS.items():
            kind.save(root / name)
            config = root / f"{name}.json"
            config.write_text(json.dumps(kind.settings))
            words = ("--device", DEVICE, "--config", str(config))
            started[name] = running.enter_context(
                _start_server(root / name, root / f"{name}.log", *words)
            )
        for server in started.values():
            server.wait_ready(120)
        yield started


@pytest.fixture(params=["bfloat16", "nf4"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(servers: dict[str, RunningServer], kind: str) -> RunningServer:
    return servers[kind]


@pytest.fixture
def oracle(servers: dict[str, RunningServer], root: Path, kind: str) -> Oracle:
    """The same files in the same type, by transformers alone."""
    return Oracle(load(root / kind, "auto"), TextCodec.load(root / kind))


def ask(server: RunningServer, **fields: Any) -> Body:
    """A checked answer; greedy unless the fields say otherwise."""
    return checked(server.post("/process", {"prompt": PROMPT, "temperature": 0} | fields))


def settled(server: RunningServer, **fields: Any) -> Body:
    """The answer of a worker that has met the prompt before: from then on, the same work."""
    ask(server, **fields)
    return ask(server, **fields)


def shared(one: list[Body], other: list[Body]) -> int:
    """How many tokens two answers share at their heads; their scores must be the same there."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a["text"] != b["text"]:
            break
        assert a["logprob"] == pytest.approx(b["logprob"], abs=TOLERANCE)
        count += 1
    return count


def assert_follows(one: list[Body], other: list[Body]) -> None:
    """Two greedy answers with candidates are the same, or part where two tokens were near."""
    place = shared(one, other)
    if place == min(len(one), len(other)):
        assert len(one) == len(other)
        return
    a, b = one[place], other[place]
    assert a["top_logprob"].get(b["text"], -9999) >= a["logprob"] - 2 * TOLERANCE
    assert b["top_logprob"].get(a["text"], -9999) >= b["logprob"] - 2 * TOLERANCE


def test_the_batching_engine_serves_what_is_stored(server: RunningServer, kind: str) -> None:
    model = requests.get(f"{server.url}/health", timeout=10).json()["model"]
    assert model["engine"] == "transformers", "not passed its self-check: see the worker's log"
    assert model["device"].startswith(DEVICE)
    assert model["dtype"] == "bfloat16"
    assert model["quantization"] == ("bitsandbytes" if kind == "nf4" else "none")


def test_greedy_answers_are_those_of_generate(server: RunningServer, oracle: Oracle) -> None:
    answer = ask(server, max_new_tokens=32, top_k_per_token=10)["tokens"]
    prompt = list(oracle.text.encode_prompt(PROMPT).ids)
    ids = oracle.greedy(PROMPT, 32)
    scores = oracle.scores(prompt + ids, len(prompt))
    pieces = zip(oracle.pieces(ids), scores, strict=True)
    place = shared(answer, [{"text": text, "logprob": score} for text, score in pieces])
    print(f"{place} of {len(ids)} tokens are those of generate")
    if place < len(ids):
        row = oracle.logprobs(prompt + ids[:place])[-1]
        near = (row >= row.max() - 2 * TOLERANCE).nonzero()[:, 0].tolist()
        assert answer[place]["text"] in oracle.text.names(near).values()


def test_echoed_scores_are_those_of_a_plain_pass(server: RunningServer, oracle: Oracle) -> None:
    prompt = "Natürlich, überall: café. " * 60  # 420 tokens: two pieces
    tokens = ask(server, prompt=prompt, echo_prompt=True, max_new_tokens=0)["tokens"]
    ids = list(oracle.text.encode_prompt(prompt).ids)
    assert len(tokens) == len(ids) == 420
    pairs = zip(tokens[1:], oracle.scores(ids, 1), strict=True)
    differences = torch.tensor([token["logprob"] - score for token, score in pairs])
    most = float(differences.abs().max())
    print(
        f"log-probabilities differ by {most:.3f} at most, {differences.std():.3f} root mean square"
    )
    assert most < TOLERANCE and float(differences.std()) < SPREAD
    assert abs(float(differences.mean())) < SPREAD / 5, "rounding has no direction"


def test_a_seed_makes_sampling_repeatable(server: RunningServer) -> None:
    fields = {"temperature": 1.0, "max_new_tokens": 24}
    one = settled(server, **fields, seed=1)
    assert ask(server, **fields, seed=1)["tokens"] == one["tokens"]
    assert settled(server, **fields, seed=2)["text"] != one["text"]


def test_a_stop_over_a_border_of_tokens(server: RunningServer) -> None:
    whole = settled(server, temperature=1.0, seed=5, max_new_tokens=40)
    text = whole["text"]
    ends = [len("".join(t["text"] for t in whole["tokens"][:i])) for i in range(3, 20)]
    stops = [text[end - 1 : end + 1] for end in ends if "\ufffd" not in text[end - 1 : end + 1]]
    stop = next(stop for stop in stops if len(stop) == 2)
    answer = ask(server, temperature=1.0, seed=5, max_new_tokens=40, stop_sequences=[stop])
    assert answer["text"] == text[: text.index(stop)]
    assert answer["finish_reason"] == "stop"


def thirty() -> list[Body]:
    """Bodies as HELM's scenarios send them side by side, all greedy."""
    choice = [{"prompt": f"{PROMPT}Question {i}?\nAnswer:", "max_new_tokens": 1} for i in range(10)]
    longer = [{"prompt": f"Q: {i} " * (i + 1), "max_new_tokens": 8 + 4 * i} for i in range(10)]
    scored = [
        {"prompt": f"{PROMPT}{i} café", "max_new_tokens": 0, "echo_prompt": True} for i in range(10)
    ]
    return [body | {"top_k_per_token": 10} for body in (*choice, *longer, *scored)]


def alone_and_together(server: RunningServer) -> Iterator[tuple[list[Body], list[Body]]]:
    """The tokens of each of the thirty, asked one at a time and all at once."""
    alone = [ask(server, **body) for body in thirty()]
    with ThreadPoolExecutor(30) as pool:
        together = list(pool.map(lambda body: ask(server, **body), thirty()))
    for one, other in zip(alone, together, strict=True):
        yield one["tokens"], other["tokens"]


def test_thirty_at_once_are_answered_as_each_alone(server: RunningServer) -> None:
    pairs = list(alone_and_together(server))
    same = [[t["text"] for t in a] == [t["text"] for t in b] for a, b in pairs]
    print(f"{sum(same)} of 30 answers have the same text")
    for one, other in pairs:
        assert_follows(one, other)
    assert all(same[20:]), "what is only scored has one text"


def test_deterministic_answers_do_not_depend_on_neighbours(
    servers: dict[str, RunningServer],
) -> None:
    """All passes have the same shapes; only the last sum, of the scores, has as many as wanted."""
    for one, other in alone_and_together(servers["deterministic"]):
        assert_same(one, other, tolerance=1e-5)


def test_memory_on_the_card_is_told(server: RunningServer) -> None:
    text = requests.get(f"{server.url}/metrics", timeout=10).text
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    cache = values["oneday_cache_tokens"] * 4 * 2 * 2 * 64 * 2  # layers, k and v, heads, width, B
    assert cache < values["oneday_gpu_memory_bytes"] < torch.cuda.mem_get_info()[1]
    print(f"{values['oneday_gpu_memory_bytes'] / 2**20:.0f} MiB on the card")


def test_sigterm_answers_what_is_accepted_and_leaves_nothing(
    servers: dict[str, RunningServer],
) -> None:
    leaving = servers["leaving"]
    main = psutil.Process(leaving.process.pid)
    processes = [main, *main.children(recursive=True)]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, leaving, max_new_tokens=400)
        while not requests.get(f"{leaving.url}/health", timeout=10).json().get("last_step_s"):
            assert not running.done(), "ended too soon to be stopped"
        leaving.process.send_signal(signal.SIGTERM)
        assert len(running.result()["tokens"]) == 400
    assert leaving.process.wait(60) == 0
    _, left = psutil.wait_procs(processes, timeout=10)
    assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]
