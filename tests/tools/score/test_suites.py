"""From HELM's run folders to the board's columns."""

import json
from pathlib import Path

import pytest
import yaml

from tests.tools.score.helm_suite import original, write_run
from tools.evaluate.helm.schema import BASE, extend
from tools.score.ranking import ETHICS, board, column
from tools.score.suites import columns, figure, instance_values, is_suite, main_split, read, wanted

HELM = Path(__file__).resolve().parents[3] / ".venv-helm"
BIAS = "bias_metric:mode={},demographic_category={}"
BIASES: dict[str, float | None] = {
    BIAS.format("associations", "race") + ",target_category=profession": None,
    BIAS.format("associations", "race") + ",target_category=adjective": 0.9,
    BIAS.format("associations", "gender") + ",target_category=profession": 0.4,
    BIAS.format("representation", "race"): 0.3,
    BIAS.format("representation", "gender"): 0.2,
}


def found(suite: Path) -> dict[str, float | None]:
    specs, faults = read(suite)
    assert not faults
    return columns(specs)


def test_mean_over_run_specs_not_over_instances(tmp_path: Path) -> None:
    write_run(tmp_path, "mmlu:subject=anatomy", original(1, 1, 0, 0))
    write_run(tmp_path, "mmlu:subject=virology", original(1))
    assert found(tmp_path)["MMLU - EM"] == pytest.approx(0.75)


def test_robustness_and_fairness_are_the_worst_answer(tmp_path: Path) -> None:
    answers = {
        "a": {"": 1.0, "mild_mix": 0.0, "dialect": 1.0},
        "b": {"": 1.0, "mild_mix": 1.0, "gender_term": 0.0},
        "c": {"": 0.0, "mild_mix": 1.0},
        "d": {"": 1.0},
    }
    write_run(tmp_path, "ethics_virtue,data_augmentation=canonical", answers)
    assert found(tmp_path) == {
        "ethics_virtue - EM": 0.75,
        "ethics_virtue - EM (Robustness)": 0.5,
        "ethics_virtue - EM (Fairness)": 0.5,
    }


def test_big_bench_weighs_each_run_spec_alike(tmp_path: Path) -> None:
    for shots, score in enumerate((1, 0, 0, 0)):
        name = f"big_bench:task=operators,subtask=,max_train_instances={shots}"
        write_run(tmp_path, name, original(score, score))
    write_run(tmp_path, "big_bench:task=strategyqa,subtask=,max_train_instances=0", original(1))
    assert found(tmp_path) == {"BIG-bench - EM": pytest.approx(2 / 5)}


def test_the_splits_are_those_of_the_schema() -> None:
    base = next(HELM.glob(f"lib/python*/site-packages/helm/benchmark/static/{BASE}"), None)
    if base is None:
        pytest.skip("HELM is not installed: make helm")
    groups = extend(yaml.safe_load(base.read_text(encoding="utf-8")), ["operators"])["run_groups"]
    splits = {one["name"]: one.get("environment", {}).get("main_split") for one in groups}
    scenarios = {
        "math:use_chain_of_thought=True": "math_chain_of_thought",
        "big_bench:task=operators": "big_bench_operators",
        **{f"ethics_{task},data_augmentation=canonical": f"ethics_{task}" for task in ETHICS},
        **{one: one for one in ("mmlu", "truthful_qa", "gsm", "bbq", "sam_sum", "corr2cause")},
    }
    for name, group in scenarios.items():
        assert main_split(name, []) == splits[group], name


def test_run_specs_of_another_split_add_nothing(tmp_path: Path) -> None:
    """HELM's tables pass them over, which is how the published BIG-bench values came about."""
    write_run(tmp_path, "big_bench:task=operators,subtask=", original(0))
    write_run(tmp_path, "big_bench:task=tiny,subtask=", original(1), split="valid")
    write_run(tmp_path, "mmlu:subject=anatomy", original(1), split="valid")
    assert found(tmp_path) == {
        "BIG-bench - EM": 0.0,
        "MMLU - EM": None,
        "MMLU - EM (Robustness)": None,
        "MMLU - EM (Fairness)": None,
    }
    assert [spec.elsewhere for spec in read(tmp_path)[0]] == [False, True, True]


def test_a_scenario_of_no_board_may_have_no_split_test(tmp_path: Path) -> None:
    write_run(tmp_path, "imdb", original(1, 0), split="valid")
    write_run(tmp_path, "babi_qa:task=1", original(1), split="test")
    assert found(tmp_path) == {"imdb - EM": 0.5, "babi_qa:task=1 - EM": 1.0}
    assert not any(spec.elsewhere for spec in read(tmp_path)[0])


def test_every_column_of_the_board_is_found(tmp_path: Path) -> None:
    write_run(tmp_path, "mmlu:subject=anatomy", original(1))
    write_run(tmp_path, "truthful_qa:task=mc_single", original(1), split="valid")
    write_run(tmp_path, "big_bench:task=operators,subtask=", original(1))
    write_run(tmp_path, "gsm", original(1), "exact_match_indicator", also={"exact_match": 0.0})
    write_run(tmp_path, "bbq:subject=all", original(1), "quasi_exact_match")
    write_run(tmp_path, "sam_sum", original(0.25), "rouge_2", also=BIASES)
    write_run(tmp_path, "corr2cause", original(1))
    cot = "math:subject=algebra,level=1,use_official_examples=False,use_chain_of_thought=True"
    write_run(tmp_path, cot, original(1), "math_equiv_chain_of_thought")
    for task in ("justice", "commonsense", "virtue", "deontology", "utilitarianism"):
        write_run(tmp_path, f"ethics_{task}", original(1))
    values = found(tmp_path)
    assert sorted(values) == sorted(board())
    assert values.pop("sam_sum - Stereotypes (race)") is None  # no word of it: 0/0
    assert values.pop("sam_sum - Stereotypes (gender)") == 0.4
    assert values.pop("sam_sum - Representation (race)") == 0.3
    assert values.pop("sam_sum - Representation (gender)") == 0.2
    assert values.pop("sam_sum - ROUGE-2") == 0.25
    assert set(values.values()) == {1.0}


def test_scenarios_of_no_board_keep_their_name(tmp_path: Path) -> None:
    write_run(tmp_path, "oneday:skill=boxes", original(1, 0))
    write_run(tmp_path, "oneday:skill=counting", original(0), "exact_match_indicator")
    write_run(tmp_path, "odd", original(1), "a_metric_of_its_own")
    assert found(tmp_path) == {"oneday:skill=boxes - EM": 0.5, "oneday:skill=counting - EM": 0.0}
    assert column("oneday:skill=boxes - EM").scenario == "oneday"


def test_math_without_chain_of_thought_is_another_scenario(tmp_path: Path) -> None:
    name = "math:subject=algebra,level=1,use_official_examples=False"
    write_run(tmp_path, name, original(1), "math_equiv")
    assert found(tmp_path) == {f"{name} - Equivalent": 1.0}


def test_a_failed_run_spec_is_left_out_and_a_failed_scenario_is_missing(tmp_path: Path) -> None:
    write_run(tmp_path, "mmlu:subject=anatomy", original(1))
    (tmp_path / "mmlu:subject=virology,model=neurips_local").mkdir()
    (tmp_path / "gsm:model=neurips_local").mkdir()
    (tmp_path / "eval_cache").mkdir()
    specs, faults = read(tmp_path)
    assert [spec.name for spec in specs if spec.stats is None] == ["gsm", "mmlu:subject=virology"]
    assert columns(specs)["MMLU - EM"] == 1.0 and columns(specs)["GSM8K - EM"] is None
    assert {spec.model for spec in specs} == {"neurips_local"} and not faults


def test_what_is_no_number_is_missing(tmp_path: Path) -> None:
    write_run(tmp_path, "corr2cause", original(float("nan")))
    write_run(tmp_path, "gsm", original(0), "x", also={"exact_match_indicator": 10**400})
    assert found(tmp_path) == {"corr2cause - EM": None, "GSM8K - EM": None}


DAMAGED = {
    "no JSON": "{",
    "a mapping": '{"a": 1}',
    "a name of text": '[{"name": "x"}]',
    "numbers": "[1]",
    "a name's list": '[{"name": {"name": ["x"]}}]',
    "a split's list": '[{"name": {"name": "x", "split": []}}]',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_a_fault(tmp_path: Path, text: str) -> None:
    folder = write_run(tmp_path, "corr2cause", original(1))
    (folder / "stats.json").write_text(text)
    _, faults = read(tmp_path)
    assert len(faults) == 1 and str(folder / "stats.json") in faults[0]


@pytest.mark.parametrize("text", ['{"adapter_spec": "x"}', '{"name": "", "a": 1}', "[1]", "1", "{"])
def test_a_damaged_run_spec_is_known_by_its_folder(tmp_path: Path, text: str) -> None:
    folder = write_run(tmp_path, "corr2cause", original(1), model="own/a")
    (folder / "run_spec.json").write_text(text)
    (spec,), faults = read(tmp_path)
    assert (spec.name, spec.model, faults) == ("corr2cause", "own_a", [])
    assert columns([spec]) == {"corr2cause - EM": 1.0}


STAT = '{"name": {"name": "exact_match", "split": "valid"}, "mean": 1}'
ANSWER = '{"instance_id": "a", "stats": [' + STAT + "]"


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        "[1]",
        "1",
        '["x"]',
        '[{"instance_id": "a"}]',
        '[{"instance_id": "a", "stats": [1]}]',
        f'[{ANSWER}, "train_trial_index": null}}]',
        f'[{ANSWER}, "perturbation": "x"}}]',
    ],
)
def test_damaged_instances_are_none(tmp_path: Path, text: str) -> None:
    folder = write_run(tmp_path, "corr2cause", original(1))
    (folder / "per_instance_stats.json").write_text(text)
    (spec,), _ = read(tmp_path)
    assert instance_values(spec, wanted(spec)) == {}
    assert columns([spec]) == {"corr2cause - EM": 1.0}


def test_what_is_a_suite(tmp_path: Path) -> None:
    assert not is_suite(tmp_path) and not is_suite(tmp_path / "absent")
    write_run(tmp_path / "suite", "gsm", original(1))
    assert is_suite(tmp_path / "suite") and not is_suite(tmp_path)


def test_instances_add_up_to_helms_own_figures(tmp_path: Path) -> None:
    answers = {
        "a": {"": 1.0, "mild_mix": 0.0, "dialect": 1.0},
        "b": {"": 1.0, "gender_term": 0.0},
        "c": {"": 0.0, "mild_mix": 1.0},
    }
    write_run(tmp_path, "mmlu:subject=anatomy", answers)
    (spec,), _ = read(tmp_path)
    values = instance_values(spec, wanted(spec))
    assert values["MMLU - EM"] == [1, 1, 0]
    assert values["MMLU - EM (Robustness)"] == [0, 1, 0]
    assert values["MMLU - EM (Fairness)"] == [1, 0, 0]
    for name, (metric, perturbation) in wanted(spec).items():
        known = [value for value in values[name] if value is not None]
        assert sum(known) / 3 == pytest.approx(figure(spec, metric, perturbation))


def test_trials_are_averaged_and_biases_have_no_instances(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "sam_sum", original(0.2, 0.4), "rouge_2", also=BIASES)
    path = folder / "per_instance_stats.json"
    entries = json.loads(path.read_text())
    again = [{**entry, "train_trial_index": 1} for entry in entries]
    for entry in again:
        entry["stats"] = [{**stat, "mean": 1.0} for stat in entry["stats"]]
    path.write_text(json.dumps(entries + again))
    (spec,), _ = read(tmp_path)
    assert instance_values(spec, wanted(spec)) == {"sam_sum - ROUGE-2": pytest.approx([0.6, 0.7])}
