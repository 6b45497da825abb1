"""What a recipe may choose of the training: the order of rows, its loss. Through real Axolotl."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.e2e.conftest import call

WITNESS = "ONEDAY_TEST_WITNESS"  # as in tests.e2e.witness_plugin, which needs Axolotl
SMALL = (
    "data.sources.boxes.rows=12 data.sources.places.rows=12 data.sources.counting.rows=12 "
    "data.sources.syllogism.rows=12 train.lora_dropout=0 train.eval_on_start=true "
    "train.plugins=[tests.e2e.witness_plugin.Witness] train.eval_steps=1000 train.save_steps=1000"
)
PACKED = "train.sample_packing=true train.sdpa_varlen=true train.sequence_len=512"
IGNORED = -100
Batch = dict[str, Any]


class Seen:
    """A training and what its witness wrote down.

    Args:
        recipe: of the tiny model.
        runs: where its run goes.
        sets: changes of the recipe.
    """

    def __init__(self, recipe: Path, runs: Path, *sets: str) -> None:
        file = runs / "witness.jsonl"
        done = call("train", recipe, runs, SMALL, *sets, env={WITNESS: str(file)})
        assert done.returncode == 0, done.stdout[-4000:]
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        self.run = runs / "tiny"
        self.steps: list[Batch] = [line for line in lines if line["training"]]
        self.evaluated: list[Batch] = [line for line in lines if not line["training"]]
        record = json.loads((self.run / "adapter" / "oneday.json").read_text())
        self.log: list[dict[str, float]] = record["metrics"]["log"]
        self.base: Any = AutoModelForCausalLM.from_pretrained(recipe.parent / "tiny").eval()

    def rows(self, name: str = "train") -> list[list[int]]:
        """Token ids of the rows, in the order of their file."""
        (file,) = self.run.glob(f"tokens/*/{name}.jsonl")
        return [json.loads(line)["input_ids"] for line in file.read_text().splitlines()]

    def skills(self) -> list[str]:
        lines = (self.run / "data" / "train.jsonl").read_text().splitlines()
        return [json.loads(line)["skill"] for line in lines]

    def tokens(self) -> list[int]:
        """Every token that was trained on, in order, without padding."""
        rows = [row for step in self.steps for row in step["ids"]]
        return [token for row in rows for token in _unpadded(row, self._pad)]

    @property
    def _pad(self) -> int:
        used = {token for row in self.rows() for token in row}
        (pad,) = {token for step in self.steps for row in step["ids"] for token in row} - used
        return pad


def _unpadded(row: list[int], pad: int) -> list[int]:
    return [token for token in row if token != pad]


def learnt(base: Any, rows: list[tuple[list[int], list[int]]]) -> list[tuple[Any, int]]:
    """The logits (float) of every learnt token and that token, each row by itself."""
    found = []
    for ids, labels in rows:
        with torch.no_grad():
            logits = base(torch.tensor([ids])).logits[0].float()
        pairs = zip(logits[:-1], labels[1:], strict=True)
        found += [(scores, label) for scores, label in pairs if label != IGNORED]
    return found


def plain(scores: Any, label: int) -> float:
    return -float(scores.log_softmax(-1)[label])


def dft(scores: Any, label: int) -> float:
    """arXiv 2508.05629: each token's loss times its own probability."""
    probability = float(scores.softmax(-1)[label])
    return -probability * float(scores.log_softmax(-1)[label])


def eaft(scores: Any, label: int) -> float:
    """Each token's loss times the entropy of its twenty likeliest words."""
    top = scores.topk(20).values.softmax(-1)
    return plain(scores, label) * -float((top * top.log()).sum())


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def held_out(seen: Seen) -> list[tuple[list[int], list[int]]]:
    (file,) = seen.run.glob("tokens/*/validation.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [(row["input_ids"], row["labels"]) for row in rows]


def check_eval_loss(seen: Seen) -> None:
    """That of the base, before the first step, is the plain mean over every learnt token."""
    first = next(entry for entry in seen.log if "eval_loss" in entry)
    wanted = mean([plain(*one) for one in learnt(seen.base, held_out(seen))])
    assert first["step"] == 0 and first["eval_loss"] == pytest.approx(wanted, rel=1e-3)


@pytest.fixture(scope="module")
def listed(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Unpacked, source by source, one of them by weight, two epochs, by DFT."""
    return Seen(
        tiny_recipe, tmp_path_factory.mktemp("listed"),
        "data.order=listed data.sources.places.weight=1.5 train.num_epochs=2 train.use_dft=true",
    )  # fmt: skip


@pytest.fixture(scope="module")
def easy(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Packed, from the easiest row to the hardest, by EAFT."""
    return Seen(
        tiny_recipe, tmp_path_factory.mktemp("easy"),
        f"data.order=easy-first train.use_eaft=true {PACKED}",
    )  # fmt: skip


def test_rows_are_trained_on_in_the_order_of_their_file_in_every_epoch(listed: Seen) -> None:
    places = [listed.skills().index(name) for name in dict.fromkeys(listed.skills())]
    assert listed.skills() == sorted(listed.skills(), key=listed.skills().index)
    assert len(places) == 4
    wanted = [token for row in listed.rows() for token in row]
    assert listed.tokens() == wanted * 2


def test_packs_keep_the_order_too(easy: Seen) -> None:
    rows, trained = easy.rows(), easy.tokens()
    assert len(easy.steps) < len(rows) / 3, "nothing was packed"
    whole = [token for row in rows for token in row]
    # The last pack is dropped where it is not full; all before it are there.
    assert trained == whole[: len(trained)] and len(trained) > len(whole) / 2
    lengths = [len(row) for row in rows]
    assert mean([float(n) for n in lengths[:10]]) < mean([float(n) for n in lengths[-10:]])


def test_dft_trains_by_its_formula_and_evaluates_by_the_plain_loss(listed: Seen) -> None:
    first = listed.steps[0]
    rows = list(zip(first["ids"], first["labels"], strict=True))
    wanted = mean([dft(*one) for one in learnt(listed.base, rows)])
    assert first["loss"] == pytest.approx(wanted, rel=1e-3)
    assert first["loss"] < 0.5 * mean([plain(*one) for one in learnt(listed.base, rows)])
    check_eval_loss(listed)


def test_eaft_trains_by_its_formula_and_evaluates_by_the_plain_loss(easy: Seen) -> None:
    first, rows = easy.steps[0], []
    # Documents of a pack see only themselves: the first step holds the first rows of the file.
    count = len([token for row in first["ids"] for token in row if token != easy._pad])
    (file,) = easy.run.glob("tokens/*/train.jsonl")
    for line in file.read_text().splitlines():
        if count > 0:
            row = json.loads(line)
            rows.append((row["input_ids"], row["labels"]))
            count -= len(row["input_ids"])
    assert count == 0
    wanted = mean([eaft(*one) for one in learnt(easy.base, rows)])
    assert first["loss"] == pytest.approx(wanted, rel=1e-3)
    check_eval_loss(easy)
