"""Clients that people have, as they come: litellm, langchain-openai, inspect-ai, lm-eval, HELM's.

They live in an environment of their own (``make clients``), for their pins are none of ours; the
scripts in ``clients/`` run there and print what they were answered. OpenAI's own client and the
pinned lm-eval are in the main environment: test_openai.py, tests/e2e/test_lm_eval.py.
"""

import json
import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Client, Oracle
from tools.files import write_json

SCRIPTS = Path(__file__).parent / "clients"
PYTHON = Path(os.environ.get("ONEDAY_CLIENTS_VENV", SCRIPTS.parents[2] / ".venv-clients"))
PYTHON = PYTHON / "bin" / "python"
PROMPT = "The capital of France is Paris."
QUESTION = "What is two plus two?"
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
needed = pytest.mark.skipif(
    not PYTHON.is_file(), reason=f"no {PYTHON.parents[1].name} is here: make clients installs it"
)
pytestmark = needed


def ask(script: str, client: Client, *words: str) -> dict[str, Any]:
    """What a script was answered; its own words on stderr where it failed."""
    env = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    # Nothing of theirs is sent anywhere, and no price list or update is asked for.
    env |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False",
            "LANGCHAIN_TRACING_V2": "false", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1",
            "OPENAI_API_KEY": "none", "NO_PROXY": "*"}  # fmt: skip
    done = subprocess.run(
        [str(PYTHON), str(SCRIPTS / f"ask_{script}.py"), client.server.url, *words],
        env=env, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def written(tokens: list[list[int]]) -> str:
    """The text of a chat's tokens, whose own bytes may be parts of a character."""
    return b"".join(map(bytes, tokens)).decode(errors="replace")


def chatted(client: Client, messages: list[dict[str, str]], **fields: Any) -> str:
    """The answer to a chat, by HTTP alone."""
    body = {"messages": messages, "max_tokens": 8, "temperature": 0, **fields}
    answer = client.post("/v1/chat/completions", body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("script", "classes"),
    [
        ("litellm", {"overflow": "ContextWindowExceededError", "text_overflow":
                     "ContextWindowExceededError", "wrong": "BadRequestError",
                     "missing": "NotFoundError"}),
        ("langchain", {"overflow": "ContextOverflowError", "text_overflow": "BadRequestError",
                       "wrong": "BadRequestError", "missing": "NotFoundError"}),
    ],
)  # fmt: skip
def test_answers_streams_scores_json_and_errors(
    script: str, classes: dict[str, str], plain: Client
) -> None:
    found, chat = ask(script, plain), chatted(plain, CHAT)
    answer = plain.process(PROMPT)
    assert found["text"] == found["streamed"] == answer["text"]
    scores = [token["logprob"] for token in answer["tokens"]]
    assert found["logprobs"] == pytest.approx(scores, abs=1e-4)
    assert found["chat"] == found["chat_streamed"] == chat
    assert written(found["chat_tokens"]) == chat and found["usage"] == len(found["chat_tokens"])
    made = found["json"] if isinstance(found["json"], dict) else json.loads(found["json"])
    assert made.keys() == {"answer"} and made["answer"] in ("yes", "no")
    for case, name in classes.items():
        assert name in found[case], f"{case}: {found[case]}"


def test_an_inspect_task_from_its_dataset_to_its_score(plain: Client, tmp_path: Path) -> None:
    right = chatted(plain, [{"role": "user", "content": QUESTION}])
    found = ask("inspect", plain, str(tmp_path), right)
    assert found["status"] == "success" and found["mean"] == 0.5
    assert found["answers"] == [right, right] and written(found["tokens"]) == right
    # Not an error that ends the task: inspect knows the sentence, and says so of the sample.
    assert found["overflow"]["stop_reason"] == "model_length" and not found["overflow"]["error"]
    assert "maximum context length" in found["overflow"]["text"]


TASKS: dict[str, dict[str, Any]] = {
    "tiny_choice": {
        "output_type": "multiple_choice",
        "doc_to_choice": ["Paris", "Rome"],
        "metric_list": [{"metric": "acc"}],
    },
    "tiny_generate": {
        "output_type": "generate_until",
        "generation_kwargs": {"until": ["e"], "max_gen_toks": 8, "do_sample": False},
        "metric_list": [{"metric": "exact_match"}],
    },
}


def test_lm_eval_s_newest_by_the_worker_s_own_tokenizer(
    plain: Client, oracles: Callable[[str], Oracle], tmp_path: Path
) -> None:
    rows = [{"question": f"The capital of {name} is", "answer": 0} for name in ("France", "Italy")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"data_files": {"test": str(tmp_path / "rows.jsonl")}}
    shared: dict[str, Any] = {"dataset_path": "json", "dataset_kwargs": data, "test_split": "test"}
    shared |= {"doc_to_text": "{{question}}", "doc_to_target": "answer"}
    for name, task in TASKS.items():  # YAML takes JSON
        write_json(tmp_path / f"{name}.yaml", {"task": name, **shared, **task})
    found = ask("lm_eval", plain, str(tmp_path), ",".join(TASKS))
    oracle = oracles("byte_level")
    for number, responses in found["samples"]["tiny_choice"]:
        question = rows[number]["question"]
        start = len(oracle.text.encode_prompt(question).ids)
        for ((score, _),), choice in zip(responses, ("Paris", "Rome"), strict=True):
            ids = list(oracle.text.encode_prompt(f"{question} {choice}").ids)
            assert float(score) == pytest.approx(math.fsum(oracle.scores(ids, start)), abs=1e-3)
    for number, responses in found["samples"]["tiny_generate"]:
        ids = oracle.greedy(rows[number]["question"], 8)
        assert responses[0][0] == "".join(oracle.pieces(ids)).partition("e")[0]


def test_helm_s_clients_of_openai_and_vllm(plain: Client) -> None:
    found = ask("helm", plain)
    answer = plain.process(PROMPT)
    for name in ("legacy", "choice", "several", "chat"):
        assert found[name]["success"], found[name]["error"]
    (legacy,) = found["legacy"]["completions"]
    assert legacy["text"] == answer["text"]
    assert legacy["logprob"] == pytest.approx(answer["logprob"], abs=1e-4)
    (choice,) = found["choice"]["completions"]  # best_of 5 at temperature 0
    assert choice["text"] == answer["tokens"][0]["text"]
    assert len(found["several"]["completions"]) == 2
    assert found["chat"]["completions"][0]["text"] == chatted(plain, CHAT)
    assert not found["overflow"]["success"]
    assert "maximum context length" in found["overflow"]["error"]
