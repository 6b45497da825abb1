"""lm-eval, as it comes, asks real workers; its own evaluation of the same folders is the norm."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from tests.serve.conftest import byte_level_tokenizer, prepend_tokenizer, save_model
from tests.tiny import make_run
from tools.errors import UserError
from tools.evaluate import lm_eval as ours
from tools.evaluate import lm_samples
from tools.evaluate.lm_scores import table
from tools.run.folder import Run

CHOICE = """\
task: tiny_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {path}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list:
  - metric: acc
  - metric: acc_norm
metadata: {{version: 1.0}}
"""
GENERATE = """\
task: tiny_generate
dataset_path: json
dataset_kwargs: {{data_files: {{test: {path}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs: {{until: ["e"], max_gen_toks: 12, do_sample: false}}
metric_list:
  - metric: exact_match
metadata: {{version: 1.0}}
"""
ROWS = [
    {
        "question": f"What is the capital of {country}? {'Think of Rome. ' * n}",
        "choices": ["Paris", "Rome", "two plus two", "naïve 東京"],
        "answer": n % 4,
    }
    for n, country in enumerate(["France", "Italy", "the fine day", "café"] * 3)
]
WHO = {"base": byte_level_tokenizer, "tuned": prepend_tokenizer}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Task files over local rows, by name."""
    root = tmp_path_factory.mktemp("tasks")
    data = root / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    files = {"tiny_choice": CHOICE, "tiny_generate": GENERATE}
    for name, text in files.items():
        (root / f"{name}.yaml").write_text(text.format(path=data))
    return {name: root / f"{name}.yaml" for name in files}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One whose tokenizer adds no BOS, and one whose does."""
    root = tmp_path_factory.mktemp("models")
    return {who: save_model(root / who, make()) for who, make in WHO.items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(
        tmp_path_factory.mktemp("runs"), eval__max_instances=50, eval__threads=8,
        serve__context=512,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(run: Run, tasks: dict[str, Path], models: dict[str, Path]) -> dict[str, Any]:
    """What our verb gives."""
    return ours.lm_eval(run, ",".join(map(str, tasks.values())), models)


def expected(model: Path, tasks: dict[str, Path]) -> dict[str, Any]:
    """What lm-eval gives when transformers runs the model."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    [folder] = {path.parent for path in tasks.values()}
    arguments = {
        "pretrained": str(model),
        "dtype": "float32",
        "add_bos_token": ours.adds_bos(model),
        "max_length": 512,
    }
    return simple_evaluate(
        model="hf",
        model_args=arguments,
        tasks=list(tasks),
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        device="cpu",
        batch_size=1,
        log_samples=True,
        bootstrap_iters=0,
    )


def samples(run: Run, who: str, task: str) -> list[dict[str, Any]]:
    [file] = (run.path / ours.FOLDER / who).rglob(f"samples_{task}_*.jsonl")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return sorted(rows, key=lambda row: int(row["doc_id"]))


def alike(ours: str, theirs: str) -> bool:
    """The same text, as far as transformers gives it back.

    It cleans up spaces before punctuation, and a byte that is no character takes its neighbours
    with it: from the first of them on the texts cannot be compared.
    """
    one, other = ("".join(text.split()) for text in (ours, theirs))
    head, broken, _ = other.partition("\ufffd")
    return one.startswith(head) if broken else one == other


@pytest.mark.parametrize("who", WHO)
def test_scores_are_lm_eval_s_own(
    who: str, run: Run, found: dict[str, Any], models: dict[str, Path], tasks: dict[str, Path]
) -> None:
    theirs = expected(models[who], tasks)
    likelihoods = 0
    mine = samples(run, who, "tiny_choice")
    assert len(mine) == len(ROWS)
    for one, other in zip(mine, theirs["samples"]["tiny_choice"], strict=True):
        for (score,), (same,) in zip(one["resps"], other["resps"], strict=True):
            likelihoods += 1
            assert float(score[0]) == pytest.approx(float(same[0]), abs=1e-3)
            assert str(score[1]) == str(same[1]), "is it what the model would say?"
    assert likelihoods == 4 * len(ROWS)
    texts = [row["resps"][0][0] for row in samples(run, who, "tiny_generate")]
    same_texts = [row["resps"][0][0] for row in theirs["samples"]["tiny_generate"]]
    assert all(map(alike, texts, same_texts))
    assert len(set(texts)) > 1 and all("e" not in text for text in texts)
    for task, metric in (("tiny_choice", "acc"), ("tiny_generate", "exact_match")):
        value = theirs["results"][task][f"{metric},none"]
        assert found[who][task][metric]["value"] == pytest.approx(value)
        assert found[who][task][metric]["n"] == len(ROWS)


def test_the_table(run: Run, found: dict[str, Any]) -> None:
    folder = run.path / ours.FOLDER
    for who, scores in found.items():
        answered = lm_samples.answered(folder / who)
        for task, metric in (("tiny_choice", "acc"), ("tiny_generate", "exact_match")):
            values = answered[task, metric].values()
            assert fmean(values) == pytest.approx(scores[task][metric]["value"])
    lines = table(found, folder).splitlines()
    print("\n".join(lines))
    cells = {tuple(line.split()[:2]): line for line in lines}
    assert " to " in cells["tiny_choice", "acc"] and "noise" in cells["tiny_choice", "acc"]
    assert ("tiny_generate", "exact_match") in cells


def test_an_unknown_task_is_named_before_a_model_is_loaded(
    run: Run, models: dict[str, Path]
) -> None:
    with pytest.raises(UserError, match="'arc_eazy'; did you mean arc_easy"):
        ours.lm_eval(run, "arc_eazy", models)
