"""The benchmark itself, on a tiny model: every server but llama.cpp is started and measured."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.loads import CARD
from benchmarks.serve import DEFAULT_SERVERS, Outcome, add_agreement, make_plan, parse_arguments
from benchmarks.servers import SERVERS, Unavailable

ROOT = Path(__file__).resolve().parents[2]


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs it, without a llama.cpp."""
    clean = {name: value for name, value in os.environ.items() if name != "LLAMA_SERVER"}
    command = [sys.executable, "-m", "benchmarks.serve", "--quick", "--busy", *words]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=clean | {"PATH": ""}
    )


def test_quick_run_measures_and_compares(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = bench("--model", str(model), "--repeats", "1", "--json", str(file))
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(file.read_text())
    results = content["results"]
    for server in ("ours", "2023", "hf-cb"):
        assert set(results[server]) == {"a550", "b", "c1", "c16", "e"}, content["notes"]
        assert all(runs[0]["req_s"] > 0 for runs in results[server].values())
        assert results[server]["b"][0]["tokenize_calls"] >= 1
        assert results[server]["a550"][0]["same"] == 100, "all servers answer the same"
    assert results["llama.cpp"] == {} and "LLAMA_SERVER" in content["notes"]["llama.cpp"]
    assert "llama.cpp: not found" in done.stdout
    assert {verdict["load"] for verdict in content["goals"]} == {"a550", "b", "c1", "c16", "e"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--servers", "our"), "--servers: no our; did you mean ours?"),
        (("--loads", "a550,z"), "--loads: no z"),
        (("--model", "nowhere"), "nowhere holds no tokenizer.json"),
    ],
)
def test_mistakes_are_told(words: tuple[str, ...], message: str) -> None:
    done = bench(*words)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_on_a_card_all_compute_there_in_bfloat16(model: Path, tmp_path: Path) -> None:
    words = ["--device", "cuda", "--model", str(model), "--set", "serve.prefill_tokens=99"]
    plan = make_plan(parse_arguments(words), tmp_path)
    assert plan.loads == list(CARD)
    for name in DEFAULT_SERVERS["cuda"]:
        command = SERVERS[name].command(plan.setup, 9999)
        assert command[command.index("--device") + 1] == "cuda"
    assert command[command.index("--dtype") + 1] == "bfloat16"
    config = json.loads((tmp_path / "ours.json").read_text())
    assert (config["dtype"], config["prefill_tokens"]) == ("bfloat16", 99)
    with pytest.raises(Unavailable):
        SERVERS["llama.cpp"].command(plan.setup, 9999)


def test_agreement_counts_answers_that_both_gave() -> None:
    ours = Outcome({"c1": [{}]}, {"c1": [["a", "b", "x"]]})
    theirs = Outcome({"c1": [{}]}, {"c1": [["a", "c"]]})
    add_agreement({"ours": ours, "2023": theirs})
    assert ours.figures["c1"][0]["same"] == 50
