"""A soup of real checkpoints: killed and left alone it ends the same, and what wins is merged."""

import json
import re
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import call, start, write_recipe
from tools.files import file_digest
from tools.rebuild.verify import verify

SOUP = "soup: {checkpoints: 3}\n"
# Steps that jump about, and the last one becomes the adapter: another or a mean is better.
LOUD = (
    "train.learning_rate=3e-2 train.lr_scheduler=constant train.load_best_model_at_end=false "
    "train.max_steps=20 train.save_steps=5 train.eval_steps=5"
)
ADAPTER = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = write_recipe(tmp_path_factory.mktemp("my soups"))
    file.write_text(file.read_text() + SOUP, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def made(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run up to its merge that nobody disturbed."""
    runs = tmp_path_factory.mktemp("runs")
    done = call("merge", recipe, runs, LOUD)
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(
        r"soup: .* has eval_loss .*, the own adapter \d\.\d+: it is merged", done.stdout
    )
    assert "the merged model differs from base + adapter by at most" in done.stdout
    return runs / "tiny"


def test_it_is_made_of_the_last_checkpoints(made: Path) -> None:
    kept = sorted(int(path.name) for path in (made / "adapter" / "kept").iterdir())
    assert kept == [10, 15, 20]
    told = json.loads((made / "soup" / "soup.json").read_text())
    assert told["won"] and told["eval_loss"] < told["own_eval_loss"]
    assert {one["member"] for one in told["tried"]} == {"own", "step 10", "step 15"}
    manifest = json.loads((made / "manifest.json").read_text())["stages"]
    assert [one["stage"] for one in manifest] == ["data", "train", "soup", "merge"]
    assert verify(made) == []


def test_the_trainer_and_the_soup_measure_the_same(made: Path) -> None:
    """eval_loss of the own adapter, by Axolotl and by us."""
    train = json.loads((made / "adapter" / "oneday.json").read_text())["metrics"]
    told = json.loads((made / "soup" / "soup.json").read_text())
    assert told["own_eval_loss"] == pytest.approx(train["eval_loss"], abs=1e-4)


def test_killed_it_is_made_anew_and_the_same(recipe: Path, made: Path) -> None:
    before = {name: file_digest(made / "soup" / name) for name in (ADAPTER, "soup.json")}
    merged = file_digest(next((made / "merged").glob("*.safetensors")))
    (made / "soup" / "oneday.json").unlink()
    process = start("merge", recipe, made.parent, LOUD)
    end = time.monotonic() + 60
    while not (made / ".soup.partial").is_dir() and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (made / ".soup.partial").is_dir(), "it was over too soon to be killed"
    done = call("merge", recipe, made.parent, LOUD)
    assert done.returncode == 0, done.stdout[-4000:]
    assert {name: file_digest(made / "soup" / name) for name in before} == before
    assert file_digest(next((made / "merged").glob("*.safetensors"))) == merged
    assert "train: up to date" in done.stdout and verify(made) == []
    assert "soup: up to date" in call("soup", recipe, made.parent, LOUD).stdout
