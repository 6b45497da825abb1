"""The data verb: splits that share no question, the same bytes under the same seed."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.tiny import EOS, jsonl, make_run, maker, recipe
from tools.data.prepare import FEW_SHOT_POOL, prepare
from tools.data.render import LETTERS
from tools.data.skills import SKILLS
from tools.errors import UserError
from tools.files import file_digest
from tools.recipe.schema import Source
from tools.run.folder import Run

FILES = ("train", "validation", "test", "shots")
LETTER = next(name for name, make in SKILLS.items() if make(Random(0)).choices)
MIX = {"counting": maker("counting", 40), LETTER: maker(LETTER, 50)}


def prepared(root: Path, **values: Any) -> Run:
    run = Run(recipe(**{"data__sources": MIX, **values}), root)
    prepare(run)
    return run


def rows(run: Run, name: str) -> list[dict[str, Any]]:
    lines = (run.output("data") / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def asked(run: Run, name: str) -> list[str]:
    """The questions of a split, as they stand in a prompt."""
    if name in ("test", "shots"):
        return [_as_shown(row) for row in rows(run, name)]
    prompts = [s["text"] for row in rows(run, name) for s in row["segments"] if not s["label"]]
    return [prompt.removeprefix("\n\n").removesuffix("\nAnswer:") for prompt in prompts]


def _as_shown(row: dict[str, Any]) -> str:
    choices = [f"{LETTERS[n]}. {choice}" for n, choice in enumerate(row["choices"])]
    return "\n".join([f"Question: {row['input']}", *choices])


def test_no_question_is_in_two_splits_and_counts_are_the_recipes(tmp_path: Path) -> None:
    run = prepared(tmp_path)
    splits = {name: asked(run, name) for name in FILES}
    everything = [question for found in splits.values() for question in found]
    assert len(set(everything)) == len(everything)
    counts = {name: len(found) for name, found in splits.items()}
    assert counts == {"train": 90, "validation": 6, "test": 5, "shots": 2 * FEW_SHOT_POOL}
    record = run.record("data")
    assert record is not None
    assert {f"{name}_questions": count for name, count in counts.items()}.items() <= record[
        "metrics"
    ].items()
    assert record["metrics"]["by_source"] == {"counting": 40, LETTER: 50}


def test_two_sources_that_overlap_do_not_leak(tmp_path: Path) -> None:
    sources = {}
    for name, numbers in {"one": range(20), "two": range(10, 30)}.items():
        file = tmp_path / f"{name}.jsonl"
        lines = [{"prompt": f"Say {n}.", "completion": f" {n}"} for n in numbers]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        sources[name] = jsonl(file)
    run = prepared(tmp_path, data__sources=sources, data__test_rows=0)
    everything = [question for name in FILES for question in asked(run, name)]
    assert sorted(everything) == sorted(f"Say {n}." for n in range(30))


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    def content(run: Run) -> list[bytes]:
        return [(run.output("data") / f"{name}.jsonl").read_bytes() for name in FILES]

    one, two, other = (prepared(tmp_path / n, data__seed=int(n)) for n in ("1", "01", "2"))
    assert content(one) == content(two)
    assert all(a != b for a, b in zip(content(one), content(other), strict=True))


def test_rows_are_text_without_the_models_tokens(tmp_path: Path) -> None:
    for row in rows(prepared(tmp_path), "train"):
        text = "".join(segment["text"] for segment in row["segments"])
        assert EOS not in text and text.startswith("Question: ")
        assert row["segments"][-1]["label"]


@pytest.mark.parametrize("values", [{"data__sources": {}}, {"data__validation_rows": 0}])
def test_nothing_to_learn_or_to_check_on(values: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError):
        prepare(make_run(tmp_path, **values))


def test_a_local_file_is_trained_on_but_not_asked(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    lines = [{"prompt": f"Say {n}.", "completion": f" {n}"} for n in range(20)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = prepared(tmp_path, data__sources={**MIX, "mine": jsonl(file)})
    assert {row["skill"] for row in rows(run, "test") + rows(run, "shots")} == set(MIX)
    found = [row for name in ("train", "validation") for row in rows(run, name)]
    mine = [row["segments"] for row in found if row["skill"] == "mine"]
    assert sorted(segments[0]["text"] for segments in mine) == sorted(
        f"Say {n}." for n in range(20)
    )
    assert all(len(segments) == 2 for segments in mine)


#: Of the files that the data stage made of this mix before there were formats and shapes.
BEFORE = {
    "train": "980d23cc296b2bb6ea9a30f20e56ae3b64763b0917653380fac1c7f4708ca2b3",
    "validation": "bbba2ec820f55f9c6ed1ae1fbf5d40a884a49eb7a0fc20331074d2469cd4e9f9",
    "test": "fb9082a171034074235bd85bef7c8e904cf2a9c128921e0741217377c17546d4",
    "shots": "be3a06757282d1650eb853f5297195c6150c1a8e13050622ccd9bee005c07996",
}


def test_a_recipe_of_before_makes_the_very_bytes_of_before(tmp_path: Path) -> None:
    rng, lines = Random(1), []
    for n in range(400):
        prompt = f'Q{rng.randrange(150)} "\xe9"\n\t?'
        completion = " " + "w " * rng.randrange(1, 60) + "\u2028end"
        lines.append({"prompt": prompt, "completion": completion, "n": n})
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    a.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    texts = [json.dumps(line, ensure_ascii=False) + "\n" for line in lines[::-1]]
    b.write_text("".join(texts), encoding="utf-8")
    mix = {
        "counting": maker("counting", 40),
        "places": maker("places", 50),
        "a": jsonl(a, rows=60),
        "b": jsonl(b, prompt="{prompt}{n}"),
    }
    run = prepared(tmp_path, data__sources=mix, data__max_words=50)
    made = {name: file_digest(run.output("data") / f"{name}.jsonl") for name in FILES}
    assert made == BEFORE


def local(file: Path, count: int, **keys: Any) -> Source:
    lines = [{"question": f"What is {n}?", "answer": f"{n}."} for n in range(count)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Source("local", str(file), "MIT", "human", **keys)


@pytest.mark.parametrize(
    ("count", "share", "held"), [(300, 0.1, 30), (300, 0.5, 83), (1000, 0.1, 83), (40, 0.1, 4)]
)
def test_own_rows_are_held_out_within_a_share(
    count: int, share: float, held: int, tmp_path: Path
) -> None:
    run = prepared(
        tmp_path,
        data__sources={"mine": local(tmp_path / "x.jsonl", count)},
        data__test_rows=50,
        data__validation_rows=25,
        data__held_out_share=share,
    )
    splits = {name: asked_of_own(run, name) for name in FILES}
    everything = [question for found in splits.values() for question in found]
    assert len(set(everything)) == len(everything) == count
    assert sum(len(splits[name]) for name in FILES[1:]) == held
    assert all(splits[name] for name in FILES)


def asked_of_own(run: Run, name: str) -> list[str]:
    if name in ("test", "shots"):
        return [row["input"] for row in rows(run, name)]
    found = [s["text"] for row in rows(run, name) for s in row["segments"] if not s["label"]]
    return [text.removeprefix("\n\n") for text in found]


def test_own_rows_are_asked_as_they_were_trained(tmp_path: Path) -> None:
    run = prepared(tmp_path, data__sources={"mine": local(tmp_path / "x.jsonl", 100)})
    first = rows(run, "test")[0]
    assert first["verbatim"] and first["format"] == "number" and not first["choices"]
    assert first["input"].startswith("Question: What is ") and first["input"].endswith("\nAnswer:")
    assert first["output"].startswith(" ")
    blocks = [len(row["segments"]) // 2 for row in rows(run, "train")]
    assert set(blocks) == {1, 2, 3}  # as makers' questions: data.shots is 3


def test_a_source_of_the_hub_is_asked_where_its_answer_is_named(tmp_path: Path) -> None:
    mine = jsonl(tmp_path / "mine.jsonl", answer="string")
    lines = [{"prompt": f"Say {n}.", "completion": f" {n}"} for n in range(200)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = prepared(tmp_path, data__sources={"mine": mine})
    assert {row["skill"] for row in rows(run, "test")} == {"mine"}


def test_nothing_leaves_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.jsonl"
    mine = local(file, 40, rows=20)
    with file.open("a") as more:
        more.write('{"question": "What is 3?", "answer": "4."}\n' * 3)
        more.write('{"question": "Long?", "answer": "%s"}\n' % ("word " * 200))
        more.write('{"question": "Empty?", "answer": ""}\n')
    lines = [{"prompt": f"Question: What is {n}?\nAnswer:", "completion": " x"} for n in range(60)]
    (tmp_path / "y.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = prepared(tmp_path, data__sources={"mine": mine, "more": jsonl(tmp_path / "y.jsonl")})
    record = run.record("data")
    assert record is not None
    for name, one in record["metrics"]["sources"].items():
        out = sum(
            sum(name == row["skill"] for row in rows(run, split)) for split in ("test", "shots")
        ) + sum(
            len(row["segments"]) // 2
            for split in ("train", "validation")
            for row in rows(run, split)
            if row["skill"] == name
        )
        assert one["read"] == out + sum(left["rows"] for left in one["left"].values())
    reasons = record["metrics"]["sources"]["mine"]["left"]
    assert reasons["with the prompt of an earlier row"] == {"rows": 3, "first": f"{file}:41"}
    assert set(reasons) == {
        "with the prompt of an earlier row", "longer than data.max_words 100",
        "without an answer", "more than data.sources.mine.rows asks for",
    }  # fmt: skip
    assert "with the prompt of an earlier source" in record["metrics"]["sources"]["more"]["left"]
    shown = capsys.readouterr().out
    assert "source  rows in  to learn  validation  test  shots  left  weight  an epoch" in shown
    assert f"  mine: 3 with the prompt of an earlier row (first: {file}:41)" in shown


def test_long_rows_are_dropped(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    lines = [{"prompt": "word " * n, "completion": " end"} for n in range(1, 21)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = prepared(
        tmp_path, data__sources={"mine": jsonl(file)}, data__max_words=10, data__test_rows=0
    )
    texts = [row["segments"][0]["text"] for n in ("train", "validation") for row in rows(run, n)]
    assert sorted(len(text.split()) for text in texts) == list(range(1, 10))


def test_nothing_left_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"data\.sources\.counting\.rows: .* there are 0 of at most"
    ):
        prepared(tmp_path, data__max_words=3)


def test_faulty_sources_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        prepared(tmp_path, data__sources={"a": maker("nothing"), "b": maker("boxes", None)})
    assert len(caught.value.faults) == 2
    assert not (tmp_path / "tiny" / "data").exists()


# Made before there were weights and orders.
BEFORE_WEIGHTS = {
    "train": "4502da6aa8d234475514cacfcd9c263bea5fb29dc5ea94d4522ac2f855ee6b2f",
    "validation": "30d06a2ed6da64d698d1f19f9e3cfb461f628b2e69388ce2e6d7f192a3e64851",
    "test": "fb9082a171034074235bd85bef7c8e904cf2a9c128921e0741217377c17546d4",
    "shots": "be3a06757282d1650eb853f5297195c6150c1a8e13050622ccd9bee005c07996",
}


def test_a_recipe_of_old_gets_its_old_bytes(tmp_path: Path) -> None:
    mix = {"counting": maker("counting", 40), "places": maker("places", 50)}
    folder = prepared(tmp_path, data__sources=mix).output("data")
    assert {name: file_digest(folder / f"{name}.jsonl") for name in FILES} == BEFORE_WEIGHTS
