"""A tier of every scenario of the open stage, with the real HELM and a worker without a model."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve.config import ServeConfig
from tests.tools.evaluate.helm.open_data import make
from tests.tools.evaluate.stub_worker import StubWorker
from tests.tools.evaluate.test_stage import make_run
from tools.errors import StageError
from tools.evaluate import stage as evaluate
from tools.questions import tiers
from tools.recipe.schema import Eval
from tools.run.folder import Run, read_json

FEW = {
    "big_bench": ("auto_debugging", "three_objects"),
    "mmlu": ("subject=anatomy", "subject=sociology"),
}


def some_of(name: str) -> list[str]:
    """A few of a stage's entries, each scenario among them, with three questions at most."""
    found = []
    for entry in tiers.entries(Eval(name, {}, 10, 4)):
        wanted = FEW.get(entry.description.partition(":")[0], ("",))
        if any(word in entry.description for word in wanted):
            text, _, _ = entry.description.partition(",max_eval_instances=")
            found.append(f"{text},max_eval_instances=3")
    return found


def write_conf(file: Path, entries: list[str]) -> None:
    lines = [f'{{description: "{entry}",priority: 1}}' for entry in entries]
    file.write_text("entries: [\n" + "\n".join(lines) + "\n]\n", encoding="utf-8")


class Serving:
    """In place of the worker: a stub, which may break down after some answers."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.asked: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def __call__(self, model: Path, config: ServeConfig, device: str, log: Path) -> Iterator[str]:
        log.write_text("stub: gone\n", encoding="utf-8")
        with StubWorker(self._answer) as stub:
            self._stub, self.asked = stub, stub.asked
            yield stub.url

    def _answer(self, prompt: str) -> str:
        if self.last is not None and len(self.asked) > self.last:
            self._stub.close()
        return " Town 3 opened new bridges." if "Summarize" in prompt else " A"


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Serving:
    made = Serving()
    monkeypatch.setattr(evaluate, "serving", made)
    return made


def ask(run: Run) -> dict[str, evaluate.Score]:
    return evaluate.evaluate(run.recipe, run, "base", Path("no model"))


def test_a_tier_by_a_conf_file_goes_on_where_it_was(
    tmp_path: Path,
    serving: Serving,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ONEDAY_HELM_VENV", str(evaluate.helm_venv()))
    monkeypatch.chdir(tmp_path)  # what is fetched would go to .cache there
    entries = some_of("sample")
    assert {entry.partition(":")[0] for entry in entries} == {
        "big_bench", "mmlu", "truthful_qa", "summarization_cnndm", "gsm", "bbq"
    }  # fmt: skip
    write_conf(tmp_path / "few.conf", entries)
    make(tmp_path / "data", entries)
    run = make_run(tmp_path / "runs")
    run.recipe.eval = Eval(str(tmp_path / "few.conf"), {}, 10, 4, str(tmp_path / "data"))
    serving.last = 20
    with pytest.raises(StageError, match="the worker died"):
        ask(run)
    first = len(serving.asked)
    serving.last = None
    scores = ask(run)
    assert first >= 20 and len(serving.asked) < 120

    assert len(scores) == 2 * 4 + 2 + 4  # a BIG-bench entry is four run specs
    cnndm = next(score for name, score in scores.items() if name.startswith("summarization"))
    assert cnndm["metric"] == "rouge_2" and 0 < cnndm["value"] < 1
    assert {score["instances"] for score in scores.values()} <= {1, 2, 3}  # some are valid

    folder = run.output("eval_base")
    record = json.loads((folder / "oneday.json").read_text())
    assert not [name for name in record["outputs"] if "scenarios/" in name or "perturb" in name]
    hashes = record["metrics"]["helm_data"]
    assert "perturbations/person_name/data/person_names.txt" in hashes and len(hashes) > 20
    assert (folder / "run_specs.conf").read_text().count("model=neurips/local") == len(entries)
    names = json.dumps(read_json(folder / "benchmark_output/runs/oneday/groups.json"))
    assert "BIG-bench" in names and "open stage" in names
    printed = capsys.readouterr().out
    assert "eval: HELM took" in printed
