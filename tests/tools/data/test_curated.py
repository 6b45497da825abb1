"""Operators in the data stage: by declaration, accounted for, nothing held out is trained on."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import jsonl, maker, recipe
from tests.tools.data.shapes import real
from tools.data import curated
from tools.data.faults import look
from tools.data.prepare import prepare
from tools.errors import UserError
from tools.recipe.operators.declared import (
    AnswerFormat,
    Augment,
    Decontaminate,
    Dedup,
    Deny,
    Filter,
    Fingerprint,
    Map,
    NearDedup,
    Repeat,
    Sample,
    Score,
    Step,
    Strip,
)  # fmt: skip
from tools.recipe.schema import Source
from tools.run.folder import Run

ROWS = [
    {"prompt": f"Say number {n} now.", "completion": f" {n}", "kind": f"k{n % 3}"}
    for n in range(40)
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def made(root: Path, rows: list[dict[str, Any]], steps: list[Step], **values: Any) -> Run:
    source = jsonl(write(root / "mine.jsonl", rows), operators=steps)
    sources = values.pop("sources", {}) | {"mine": source}
    values = {"data__sources": sources, "data__test_rows": 0, "data__validation_rows": 4, **values}
    run = Run(recipe(**values), root / "runs")
    prepare(run)
    return run


def prompts(run: Run, name: str) -> list[str]:
    lines = (run.output("data") / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["segments"][0]["text"] for line in lines]


def test_rows_leave_by_a_field_that_no_template_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path, ROWS, [{"deny": Deny("kind", ["k1"])}])
    left = prompts(run, "train") + prompts(run, "validation")
    assert sorted(left) == sorted(row["prompt"] for row in ROWS if row["kind"] != "k1")
    record = run.record("data")
    assert record
    (account,) = record["metrics"]["operators"]
    assert account["key"] == "data.sources.mine.operators[0].deny"
    assert account["left"] == {"kind is denied": 13} and (account["before"], account["after"]) == (
        40,
        27,
    )
    out = capsys.readouterr().out
    assert (
        "13 kind is denied" in out
        and f"{tmp_path}/mine.jsonl:2: kind is denied: Say number 1" in out
    )


def test_other_answers_stay_where_dedup_says_so(tmp_path: Path) -> None:
    rows = [{"prompt": f"Q {n // 2}", "completion": f" {n}"} for n in range(40)]
    plain = made(tmp_path / "plain", rows, [])
    assert len(prompts(plain, "train")) == 16
    run = made(tmp_path / "all", rows, [{"dedup": Dedup("prompt", "all_answers")}])
    train, held = prompts(run, "train"), prompts(run, "validation")
    assert len(held) == 4 and len(train) == 32
    assert not set(train) & set(held)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    for name in ("plain", "all", "one", "two"):
        (tmp_path / name).mkdir()


def test_copies_are_of_training_rows_alone(tmp_path: Path) -> None:
    run = made(
        tmp_path, ROWS, [{"augment": Augment("lower_case", beside=True)}, {"repeat": Repeat(3)}]
    )
    train, held = prompts(run, "train"), prompts(run, "validation")
    assert len(held) == 4 and len(train) == 36 * 2 * 3
    assert not {text.lower() for text in train} & {text.lower() for text in held}


def test_of_the_mix_a_row_that_another_source_has_leaves(tmp_path: Path) -> None:
    other = [
        {"prompt": row["prompt"].upper(), "completion": row["completion"]} for row in ROWS[:10]
    ]
    other += [{"prompt": f"Name {n}", "completion": " x"} for n in range(20)]
    run = made(
        tmp_path, ROWS, [],
        sources={"other": jsonl(write(tmp_path / "other.jsonl", other))},
        data__operators=[{"dedup": Dedup()}],
    )  # fmt: skip
    texts = [text.casefold() for name in ("train", "validation") for text in prompts(run, name)]
    assert len(texts) == len(set(texts)) == 60


def test_near_duplicates_of_makers_stay(tmp_path: Path) -> None:
    sources = {"places": maker("places", 60)}
    steps: list[Step] = [{"near_dedup": NearDedup(1, 0.5)}]
    rows = ROWS + [{"prompt": f"a{n} b{n} c{n}", "completion": " x"} for n in range(9)]
    run = made(tmp_path, rows, [], sources=sources, data__operators=steps)
    record = run.record("data")
    assert record and record["metrics"]["by_source"]["places"] == 60
    assert record["metrics"]["by_source"]["mine"] < 10


#: As long and as many as the pool of TruthfulQA, 817 questions of few words.
POOL = [f"What happens to you if you {verb} a {noun}?" for verb in "eat see buy sell hold".split()
        for noun in (f"thing{n}" for n in range(164))][:817]  # fmt: skip


def test_a_whole_pool_is_found_before_a_row_is_written(tmp_path: Path) -> None:
    (tmp_path / "pool.txt").write_text("\n".join(POOL))
    planted = [
        {"prompt": f"Question: {text.upper()}\nAnswer:", "completion": " no"} for text in POOL
    ]
    step: Step = {"decontaminate": Decontaminate(False, [str(tmp_path / "pool.txt")], "refuse")}
    with pytest.raises(UserError) as caught:
        made(tmp_path, ROWS + planted, [], data__operators=[step])
    assert "817 rows hold a question of the evaluation" in caught.value.faults[0]
    assert f"{tmp_path}/mine.jsonl:" in caught.value.faults[0]
    assert not (tmp_path / "runs" / "tiny" / "data").exists()
    step["decontaminate"].found = "drop"
    run = made(tmp_path, ROWS + planted, [], data__operators=[step])
    assert sorted(prompts(run, "train") + prompts(run, "validation")) == sorted(
        r["prompt"] for r in ROWS
    )


def truthful_qa(folder: Path) -> list[str]:
    """Made-up questions in the file that HELM's scenario reads, as many as it has."""
    asks = ("Is it true that {}?", "What happens if {}?", "Why do people say that {}?",
            "{}, according to most people who live there?", "Who says {}?")  # fmt: skip
    things = [
        f"the {noun} {verb} {at}, or so they say"
        for noun in "moon river goat clock piano".split()
        for verb in "eats sees buys sells holds".split()
        for at in (f"gate {n}" for n in range(7))
    ]
    questions = [ask.format(thing) for thing in things for ask in asks][:817]
    path = folder / "scenarios" / "truthful_qa" / "data" / "TruthfulQA.csv"
    path.parent.mkdir(parents=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        heads = "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source"
        writer.writerow(heads.split(","))
        for text in questions:
            writer.writerow(["Adversarial", "Myths", text, "No", "No; Never", "Yes", "own"])
    return questions


def test_all_of_truthful_qa_is_found_before_a_row_is_written(tmp_path: Path) -> None:
    planted = [
        (lambda text: {"prompt": f"Question: {text}\nAnswer:", "completion": " No"},
         lambda text: {"prompt": text.upper(), "completion": " no."},
         lambda text: {"prompt": "Ask something.", "completion": f" {text}"},
         lambda text: {"prompt": f"Hi!\n{text.replace(' ', '  ')}\nGo on:", "completion": " x"},
        )[n % 4](text)
        for n, text in enumerate(truthful_qa(tmp_path / "helm"))
    ]  # fmt: skip
    assert len(planted) == 817
    mix = {
        "eval__tiers": {"tier": ["truthful_qa:task=mc_single,model=neurips/local"]},
        "eval__data": str(tmp_path / "helm"),
    }
    refuse: Step = {"decontaminate": Decontaminate(found="refuse")}
    dedup: list[Step] = [{"dedup": Dedup()}]  # prompts may come twice
    with pytest.raises(UserError) as caught:
        made(tmp_path, ROWS + planted, dedup, data__operators=[refuse], **mix)
    assert "817 rows hold a question of the evaluation" in caught.value.faults[0]
    assert not (tmp_path / "runs" / "tiny" / "data").exists()
    drop: Step = {"decontaminate": Decontaminate()}
    run = made(tmp_path, ROWS + planted, dedup, data__operators=[drop], **mix)
    assert sorted(prompts(run, "train") + prompts(run, "validation")) == sorted(
        r["prompt"] for r in ROWS
    )


def test_the_files_of_operators_count_as_inputs(tmp_path: Path) -> None:
    file = tmp_path / "pool.txt"
    step: Step = {"decontaminate": Decontaminate(False, [str(file)])}
    with pytest.raises(
        UserError, match=r"data.operators\[0\]: decontaminate.files: .*: no such file"
    ):
        made(tmp_path, ROWS, [], data__operators=[step])
    file.write_text("one")
    run = made(tmp_path, ROWS, [], data__operators=[step])
    assert run.done("data")
    file.write_text("two")
    assert not Run(run.recipe, tmp_path / "runs").done("data")


def test_the_seed_decides_and_the_bytes_can_be_held(tmp_path: Path) -> None:
    steps: list[Step] = [{"sample": Sample(n=20)}, {"fingerprint": Fingerprint()}]

    def sha(name: str, **values: Any) -> str:
        record = made(tmp_path / name, ROWS, steps, **values).record("data")
        assert record
        return str(record["metrics"]["operators"][1]["notes"]["sha256"])

    assert sha("one") == sha("two") != sha("all", data__seed=9)


def test_what_is_left_must_be_enough(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"mine: no row is left .* loosen the operators .*\n.*99 words"
    ):
        made(tmp_path, ROWS, [{"filter": Filter(min_words=99)}])


def accounted(run: Run) -> dict[str, Any]:
    """The record's account of each source, once rows in and rows out were seen to agree."""
    record = run.record("data")
    assert record
    for name, one in record["metrics"]["sources"].items():
        out = sum(
            max(sum(s["label"] for s in row["segments"]), 1)
            for split in ("train", "validation")
            for row in content(run, split)
            if row["skill"] == name
        ) + sum(row["skill"] == name for split in ("test", "shots") for row in content(run, split))
        gone = sum(left["rows"] for left in one["left"].values())
        assert one["read"] + sum(one.get("added", {}).values()) == out + gone, (name, one)
    found: dict[str, Any] = record["metrics"]["sources"]
    return found


def content(run: Run, name: str) -> list[dict[str, Any]]:
    lines = (run.output("data") / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_no_row_leaves_or_comes_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = [{"prompt": f"Name {n}", "completion": f" {n}"} for n in range(30)] + ROWS[:5]
    run = made(
        tmp_path,
        ROWS,
        [{"deny": Deny("kind", ["k1"])}, {"sample": Sample(n=20)}, {"repeat": Repeat(2)}],
        sources={
            "places": maker("places", 20),
            "other": jsonl(write(tmp_path / "other.jsonl", other)),
        },
        data__operators=[
            {"dedup": Dedup()}, {"filter": Filter(lacks="2 now")}, {"repeat": Repeat(3)},
        ],
        data__test_rows=3,
    )  # fmt: skip
    found = accounted(run)
    left = found["mine"]["left"]
    assert left["data.sources.mine.operators[0].deny: kind is denied"] == {
        "rows": 13,
        "first": f"{tmp_path}/mine.jsonl:2",
    }
    assert found["mine"]["added"]["data.sources.mine.operators[2].repeat"] > 0
    assert found["other"]["added"].keys() == {"data.operators"}
    shown = capsys.readouterr().out
    assert "left  added  weight  an epoch" in shown
    assert shown.index("an epoch") < shown.index("data.operators[1].filter")


def test_a_field_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        made(tmp_path, ROWS, [{"deny": Deny("knid", ["x"])}])
    assert caught.value.faults == [
        "data.sources.mine.operators[0]: deny.column: no field 'knid'; did you mean kind?; the "
        "rows have prompt, completion, kind"
    ]


def test_a_field_that_is_always_empty_is_no_fault(tmp_path: Path) -> None:
    rows = [{**row, "kind": None} for row in ROWS]
    run = made(tmp_path, rows, [{"deny": Deny("kind", ["x"])}])
    assert len(prompts(run, "train")) == 36


TALK = [{"messages": [
    {"role": "user", "content": f"Hi {n}<b>"}, {"role": "assistant", "content": f"Hello {n}"},
    {"role": "user", "content": "More?"}, {"role": "assistant", "content": f"Yes<i>, {n}"},
]} for n in range(30)]  # fmt: skip


def talk(root: Path, *steps: Step) -> Run:
    file = write(root / "talk.jsonl", TALK)
    source = Source("hub", str(file), "MIT", "human", shape="messages", operators=list(steps))
    mine = dataclasses.replace(source, kind="jsonl")
    run = Run(recipe(data__sources={"mine": mine}, data__test_rows=0), root / "runs")
    prepare(run)
    return run


def test_earlier_answers_are_learnt_still_where_the_last_one_is_written_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = talk(tmp_path, {"strip": Strip(["tags"], ["completion"])}, {"repeat": Repeat(2)})
    row = next(row for row in content(run, "train") if "Hi 3<b>" in str(row))
    learnt = [segment["text"] for segment in row["segments"] if segment["label"]]
    assert learnt == [" Hello 3", " Yes, 3"]
    assert "last answer alone" not in capsys.readouterr().out


def test_earlier_answers_that_are_lost_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = talk(tmp_path, {"strip": Strip(["tags"])})
    row = next(row for row in content(run, "train") if "Hi 3" in str(row))
    assert [segment["text"] for segment in row["segments"] if segment["label"]] == [" Yes, 3"]
    assert "<b>" not in row["segments"][0]["text"]
    assert "mine: 30 conversations learn their last answer alone" in capsys.readouterr().out


def test_what_operators_write_is_judged_as_what_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine.jsonl:\d+: after .*operators: its prompt ends in a"):
        made(
            tmp_path,
            [{"prompt": f"q{n}#", "completion": "x"} for n in range(9)],
            [{"map": Map("prompt", pattern="#", to=" ")}],
        )


def test_answers_are_told_by_what_operators_make_of_them(tmp_path: Path) -> None:
    lines = [{"question": f"Is it {n}?", "answer": f"{'AB'[n % 2]}. It is {n}"} for n in range(60)]
    file = write(tmp_path / "own.jsonl", lines)
    letters: list[Step] = [{"answer_format": AnswerFormat("letter")}]
    own = Source("local", str(file), "MIT", "human", operators=letters)
    assert not look("own", own).faults
    run = Run(recipe(data__sources={"own": own}), tmp_path / "runs")
    prepare(run)
    assert {row["format"] for row in content(run, "test")} == {"letter"}
    assert {row["output"] for row in content(run, "test")} <= {" A", " B"}
    assert any(len(row["segments"]) > 2 for row in content(run, "train"))  # as they are asked
    spelt = dataclasses.replace(own, operators=[])
    assert "letters with their texts" in look("own", spelt).faults[0]


def test_of_one_source_all_rows_are_asked_in_one_form(tmp_path: Path) -> None:
    file = tmp_path / "mcq.jsonl"
    file.write_bytes(real.jsonl(real.OPENBOOKQA))
    step: Step = {"map": Map("prompt", pattern="sun ([0-4])", to=r"star \1")}
    own = Source("local", str(file), "MIT", "human", shape="mcq", operators=[step])
    run = Run(recipe(data__sources={"own": own}, data__held_out_share=0.5), tmp_path / "runs")
    prepare(run)
    asked = content(run, "test") + content(run, "shots")
    assert all(row["verbatim"] for row in asked) and any("star" in row["input"] for row in asked)


def test_a_part_after_another_is_as_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Step] = [{"deny": Deny("kind", ["k1"])}, {"filter": Filter(lacks="[69] now")}]
    whole = made(tmp_path / "one", ROWS, steps)
    monkeypatch.setattr(curated, "BATCH", 7)
    parts = made(tmp_path / "two", ROWS, steps)
    assert prompts(whole, "train") == prompts(parts, "train")
    one, two = (run.record("data") for run in (whole, parts))
    assert one and two
    text = json.dumps(one["metrics"]["operators"]).replace(str(tmp_path / "one"), "")
    assert text == json.dumps(two["metrics"]["operators"]).replace(str(tmp_path / "two"), "")


def test_rows_that_the_base_gets_wrong_are_kept(tmp_path: Path) -> None:
    rows = [{"prompt": f"{n} + 1 =", "completion": f" {n + 1}"} for n in range(60)]
    own = jsonl(write(tmp_path / "own.jsonl", rows))
    own.operators = [{"score": Score("base")}, {"sample": Sample(below=1)}]
    sizes = {"data__test_rows": 0, "data__validation_rows": 2}
    run = Run(recipe(data__sources={"own": own}, **sizes), tmp_path / "runs")
    # Right where the number is even.
    prepare(run, answers=lambda prompts, wanted: [o if int(o) % 2 == 0 else " no" for o in wanted])
    operators = prepared(run)["operators"]
    assert operators[0]["notes"] == {"mean score": 0.5}
    completions = (run.output("data") / "train.jsonl").read_text(encoding="utf-8")
    assert '" 8"' not in completions and len(completions.splitlines()) == 28
    with pytest.raises(UserError, match="no base model answers here"):
        prepare(run)


def prepared(run: Run) -> dict[str, Any]:
    record = run.record("data")
    assert record
    return dict(record["metrics"])


def test_another_base_scores_anew(tmp_path: Path) -> None:
    own = jsonl(write(tmp_path / "own.jsonl", ROWS), operators=[{"score": Score("base")}])
    values = {"data__sources": {"own": own}, "model__source": "hub"}
    one, other = (Run(recipe(model__id=name, **values), tmp_path) for name in ("a/b", "a/c"))
    assert one.fingerprint("data") != other.fingerprint("data")
