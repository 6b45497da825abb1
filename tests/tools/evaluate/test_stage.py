"""The eval verb with the real HELM and a worker without a model."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serve.config import ServeConfig
from tests.tools.evaluate.stub_worker import Answer, StubWorker
from tools.errors import StageError, UserError
from tools.evaluate import stage as evaluate
from tools.evaluate.table import table
from tools.recipe.schema import Budget, Data, Eval, Hardware, Merge, Model, Quantize, Recipe
from tools.run.folder import Run, read_json

Serve = Callable[[Answer], list[StubWorker]]


def recipe(*entries: str) -> Recipe:
    return Recipe(
        Budget(24, 30, 15),
        Hardware("cpu", "none", "cpu", 8, "", 0.1, ["none"]),
        Model("own/tiny", "local", "OPT", "MIT", False, 512, "</s>", "<pad>"),
        Data({}, 0, 3, 1, 1, 100),
        {},
        Merge("plain", 0.1),
        Quantize("none", 1.05, 1),
        ServeConfig(),
        Eval("tier", {"tier": list(entries)}, max_instances=4, threads=4),
        "test",
    )


def rows(skill: str, *outputs: str) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{skill}{n}",
            "skill": skill,
            "format": "string",
            "input": f"{skill} {n}",
            "output": o,
        }
        for n, o in enumerate(outputs)
    ]


def make_run(root: Path, *entries: str, broken: bool = False) -> Run:
    """A run whose data stage holds the skills copy and fixed (and one that HELM cannot load)."""
    run = Run(recipe(*entries), root)
    data = run.output("data")
    data.mkdir(parents=True)
    found = rows("copy", "a", "b", "c") + rows("fixed", "x", "x", "x")
    found += [{**rows("odd", "a")[0], "format": "letter", "choices": ["b"]}] if broken else []
    for name in ("test.jsonl", "shots.jsonl"):
        (data / name).write_text("".join(f"{json.dumps(row)}\n" for row in found))
    return run


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Replace the worker by a stub; gives the list of stubs started so far."""

    def replace(answer: Answer) -> list[StubWorker]:
        started: list[StubWorker] = []

        @contextlib.contextmanager
        def serving(model: Path, config: ServeConfig, device: str, log: Path) -> Iterator[str]:
            log.write_text("stub: gone\n", encoding="utf-8")
            with StubWorker(answer) as stub:
                started.append(stub)
                yield stub.url

        monkeypatch.setattr(evaluate, "serving", serving)
        return started

    return replace


def ask(run: Run, who: evaluate.Who) -> dict[str, evaluate.Score]:
    return evaluate.evaluate(run.recipe, run, who, Path("no model"))


def test_scores_base_and_tuned(tmp_path: Path, serve: Serve) -> None:
    run = make_run(tmp_path, "oneday", "synthetic_reasoning_natural:difficulty=easy")
    serve(lambda prompt: " y")
    base = ask(run, "base")
    serve(lambda prompt: " x")
    tuned = ask(run, "tuned")
    assert (base["oneday:skill=fixed"]["value"], tuned["oneday:skill=fixed"]["value"]) == (0, 1)
    assert tuned["oneday:skill=copy"] == {
        "metric": "exact_match",
        "value": 0.0,
        "split": "test",
        "instances": 3,
        "seconds_per_answer": pytest.approx(0.01),
        "also": {"quasi_exact_match": 0.0},
    }
    natural = tuned["synthetic_reasoning_natural:difficulty=easy"]
    assert natural["metric"] == "exact_set_match" and "f1_set_match" in natural["also"]
    assert read_json(run.output("eval_tuned") / "scores.json") == tuned
    hits = read_json(run.output("eval_tuned") / "metrics.json")
    memory = {"resident_bytes": 3_000_000_000, "card_bytes": 0}
    assert hits == {"rules": {"letter": {"cut": 2}}, "memory": memory}
    assert (run.output("eval_tuned") / "benchmark_output/runs/oneday/groups.json").is_file()
    assert run.done("eval_base") and run.done("eval_tuned")
    lines = table(run).splitlines()
    print("\n".join(lines))
    fixed = next(line for line in lines if line.startswith("oneday:skill=fixed"))
    numbers = ["0.000", "1.000", "+1.000", "+1.000", "to", "+1.000", "3"]
    few = ["not", "more", "than", "noise"]  # three questions show nothing, whatever they say
    assert fixed.split()[1:] == ["exact_match", *numbers, *few]
    mean = next(line for line in lines if line.startswith("mean, trained skills"))
    assert mean.split()[3:10] == ["0.000", "0.500", "+0.500", "+0.500", "to", "+0.500", "6"]
    assert "from before" not in lines[-1]
    run.recipe.eval.max_instances = 2
    changed = table(Run(run.recipe, tmp_path))
    assert "base: from before the recipe's last change" in changed


def test_keeps_what_was_scored_and_asks_the_failed_again(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, "oneday", broken=True)
    first = serve(lambda prompt: " x")
    scores = ask(run, "base")
    assert len(first[0].asked) == 6 and not run.done("eval_base")
    assert set(scores) == {"oneday:skill=copy", "oneday:skill=fixed"}
    assert read_json(run.output("eval_base") / "scores.json") == scores
    (cause,) = evaluate.failed(run, "base").values()
    assert cause.startswith("ValueError: row odd0: 'a' is not exactly one of")
    *_, head, told = table(run).splitlines()
    assert head.startswith("failed, ") and "make eval" in head and "eval_base.log" in head
    assert told == f"  base: oneday:skill=odd: {cause}"

    for path in run.output("data").iterdir():
        path.write_text(path.read_text().replace('["b"]', '["a", "b"]'))
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "serving", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ask(run, "base")
    assert read_json(run.output("eval_base") / "scores.json") == scores
    second = serve(lambda prompt: " A")
    scores = ask(run, "base")
    assert len(second[0].asked) == 1  # what was scored is not asked again
    assert {name: score["value"] for name, score in scores.items()} == {
        "oneday:skill=copy": 0,
        "oneday:skill=fixed": 1,
        "oneday:skill=odd": 1,
    }
    assert run.done("eval_base") and not evaluate.failed(run, "base")
    hits = read_json(run.output("eval_base") / "metrics.json")
    assert hits["rules"] == {"letter": {"cut": 4}}  # of both attempts
    assert hits["memory"]["resident_bytes"] == 3_000_000_000


def interrupt(*given: Any) -> None:
    raise KeyboardInterrupt


def test_ends_at_once_when_the_worker_dies(tmp_path: Path, serve: Serve) -> None:
    run = make_run(tmp_path, "oneday:skill=copy")

    def die(prompt: str) -> str:
        stubs[0].close()
        return " x"

    stubs = serve(die)
    with pytest.raises(StageError, match=r"the worker died; .*worker_base\.log(?s:.)*stub: gone"):
        ask(run, "base")


def test_refuses_an_entry_that_helm_refuses(tmp_path: Path, serve: Serve) -> None:
    run = make_run(tmp_path, "synthetic_reasoning:mood=induction")
    serve(lambda prompt: "")
    with pytest.raises(UserError, match=r"eval\.tier tier: .*unexpected keyword argument 'mood'"):
        ask(run, "base")


def test_names_every_unknown_run_spec_before_anything_starts(tmp_path: Path, serve: Serve) -> None:
    run = make_run(tmp_path, "onedya", "simple_mcq", "gsm")
    started = serve(lambda prompt: "")
    with pytest.raises(UserError) as caught:
        ask(run, "base")
    assert caught.value.faults == [
        "eval.tiers.tier[0]: HELM has no run spec 'onedya'; did you mean oneday?",
        "eval.tiers.tier[1]: HELM has no run spec 'simple_mcq'; did you mean simple_mcqa?",
    ]
    assert not started


def test_names_an_unknown_tier(tmp_path: Path) -> None:
    run = make_run(tmp_path, "gsm")
    run.recipe.eval.tier = "quik"
    with pytest.raises(UserError, match=r"eval\.tier: no tier 'quik'; there are tier, open"):
        ask(run, "base")


def test_says_what_is_missing_before_anything_starts(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str, timeout: float) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setenv("ONEDAY_HELM_VENV", str(evaluate.helm_venv()))
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path, "gsm", "mmlu:subject=law", "mmlu:subject=art")
    started = serve(lambda prompt: "")
    with pytest.raises(UserError) as caught:
        ask(run, "base")
    assert [fault.split(": ")[1:3] for fault in caught.value.faults] == [
        ["gsm:model=neurips/local", "scenarios/gsm/gsm_data_train"],
        ["gsm:model=neurips/local", "scenarios/gsm/gsm_data_test"],
        ["mmlu (2 run entries)", "scenarios/mmlu/data"],
    ]
    assert all("no network" in fault and "DATA=" in fault for fault in caught.value.faults)
    assert not started


def test_what_is_asked_twice_keeps_its_first_place(tmp_path: Path) -> None:
    run = make_run(tmp_path, "oneday:skill=fixed", "oneday")
    asked = evaluate.entries_of(run.recipe, run, tmp_path)
    names = [entry.description.removesuffix(",model=neurips/local") for entry in asked]
    assert names == ["oneday:skill=fixed", "oneday:skill=copy"]
    assert asked[0].where == "eval.tiers.tier[0]"


def test_a_tier_that_asks_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"eval\.tier tier: asks nothing"):
        ask(make_run(tmp_path, "gsm:max_eval_instances=0"), "base")


def test_says_how_to_install_helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDAY_HELM_VENV", str(tmp_path / "none"))
    with pytest.raises(UserError, match="none; install it with: make helm"):
        ask(make_run(tmp_path, "gsm"), "base")


def test_expand() -> None:
    entries = [
        "oneday",
        "oneday:max_train_instances=5",
        "oneday:skill=c",
        "gsm",
        "mmlu:subject=law",
        "truthful_qa:task=mc_single,model=text,data_augmentation=canonical",
    ]
    assert evaluate.expand(entries, ["a", "b"]) == [
        "oneday:skill=a,model=neurips/local",
        "oneday:skill=b,model=neurips/local",
        "oneday:skill=a,max_train_instances=5,model=neurips/local",
        "oneday:skill=b,max_train_instances=5,model=neurips/local",
        "oneday:skill=c,model=neurips/local",
        "gsm:model=neurips/local",
        "mmlu:subject=law,model=neurips/local",
        "truthful_qa:task=mc_single,data_augmentation=canonical,model=neurips/local",
    ]


def stat(name: str, mean: float, split: str, perturbation: str = "") -> dict[str, Any]:
    named: dict[str, Any] = {"name": name, "split": split}
    if perturbation:
        named["perturbation"] = {"name": perturbation}
    return {"name": named, "mean": mean}


def write_stats(runs: Path, name: str, *stats: dict[str, Any]) -> None:
    (runs / name).mkdir(parents=True)
    (runs / name / "stats.json").write_text(json.dumps(stats), encoding="utf-8")


def test_reads_what_helm_shows(tmp_path: Path) -> None:
    write_stats(
        tmp_path,
        "gsm:model=neurips_local",
        stat("exact_match_indicator", 0.1, "test", "robustness"),
        stat("exact_match_indicator", 0.2, "valid"),
        stat("exact_match_indicator", 0.3, "test"),
        stat("final_number_exact_match", 0.4, "test"),
        stat("num_instances", 5, "valid"),
        stat("num_instances", 7, "test"),
    )
    truthful = "truthful_qa:task=mc_single,model=neurips_local,groups=x"
    write_stats(
        tmp_path, truthful, stat("exact_match", 0.6, "valid"), stat("num_instances", 8, "valid")
    )
    write_stats(tmp_path, "odd:model=neurips_local", stat("bits_per_byte", 1.0, "test"))
    sums = [stat(name, 0.5, "test") for name in ("rouge_2", "num_instances")]
    write_stats(tmp_path, "sam_sum:model=neurips_local", stat("rouge_2", 0.7, "valid"),
                stat("num_instances", 3, "valid"), *sums)  # fmt: skip
    write_stats(tmp_path, "corr2cause:model=neurips_local", stat("exact_match", 0.9, "test"),
                stat("num_instances", 2, "test"))  # fmt: skip
    (tmp_path / "mmlu:model=neurips_local").mkdir()  # one that failed
    (tmp_path / "mmlu:model=neurips_local" / "run_spec.json").write_text("{}")
    scores = evaluate.read_scores(tmp_path)
    few, sam_sum = scores.pop("corr2cause"), scores.pop("sam_sum")
    assert (sam_sum["value"], sam_sum["split"]) == (0.7, "valid")  # HELM's main split
    assert (few["value"], few["split"]) == (0.9, "test")  # its few questions have no other
    assert set(scores) == {"gsm", "truthful_qa:task=mc_single,groups=x"}
    gsm, truthful_qa = scores.values()
    assert (gsm["value"], gsm["split"], gsm["instances"]) == (0.3, "test", 7)
    assert gsm["also"] == {"final_number_exact_match": 0.4}
    assert (truthful_qa["value"], truthful_qa["split"]) == (0.6, "valid")
