"""A folder for the hub: whole, its card read back by the hub's own code, faults told at once."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from tests.tiny import jsonl, maker, recipe
from tests.tools.report.conftest import build
from tools.errors import UserError
from tools.package.weights import HUB_ID
from tools.publish import licences
from tools.publish.folder import Published, _recipe_text, publish
from tools.recipe.schema import Axis, Model, Source, Sweep
from tools.run import provenance
from tools.run.folder import Run

HUB = Model("own/base", "hub", "Llama 2", "Apache-2.0", False, 1024, "</s>", "<unk>")
SET = Source("hub", "owner/questions", "CC-BY-NC-4.0", "human", revision="a" * 40)
SECRET = "hf_" + "a1B2" * 8  # as a token looks


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of our own; no base model is there to be hashed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(provenance, "model_files", lambda model: {"model.safetensors": "a" * 64})


def made(**values: Any) -> Run:
    return build(Path("runs"), **{"model": HUB, **values})


def card_of(found: Published) -> ModelCard:
    """As the hub's own client reads it, faults of its metadata not passed over."""
    return ModelCard.load(found.folder / "README.md", ignore_metadata_errors=False)


def refused(run: Run, place: str = "") -> list[str]:
    with pytest.raises(UserError) as caught:
        publish(run, Path("dist"), place)
    return caught.value.faults


def test_the_folder_is_what_is_served_with_card_and_recipe() -> None:
    run = made()
    found = publish(run, Path("dist"), "me/tiny")
    assert found.folder == Path("dist/hub-tiny")
    assert {path.name for path in found.folder.iterdir()} == {
        "README.md", "recipe.yaml", "model.safetensors",
    }  # fmt: skip
    served = run.output("quantize") / "model.safetensors"
    assert (found.folder / "model.safetensors").read_bytes() == served.read_bytes()
    stored = yaml.safe_load((found.folder / "recipe.yaml").read_text())
    assert stored["quantize"]["format"] == "nf4"
    *_, last = found.render().splitlines()
    assert last == "hf upload me/tiny dist/hub-tiny . --repo-type model"
    assert "nothing was sent anywhere" in found.render()


def test_the_hubs_client_reads_the_card() -> None:
    sources = {"counting": maker("counting"), "asked": SET}
    data = card_of(publish(made(data__sources=sources), Path("dist"), "me/tiny")).data
    assert data.license == "apache-2.0" and data.license in licences.HUB
    assert data.base_model == "own/base" and data.datasets == ["owner/questions"]
    assert data.language == ["en"] and data.library_name == "transformers"
    assert data.pipeline_tag == "text-generation"
    assert {"oneday", "lora", "bitsandbytes", "4-bit"} <= set(data.tags)
    results = {one.dataset_type: one for one in data.eval_results}
    counting = results["oneday:skill=counting"]
    assert counting.metric_type == "exact_match" and counting.metric_value == 0.875
    assert "8 questions, 95 % within 0." in counting.metric_name
    assert data.model_name == "tiny"


def test_the_card_says_scores_with_intervals_sources_and_figures() -> None:
    text = str(card_of(publish(made(), Path("dist"), "me/tiny")))
    assert (
        "| oneday:skill=counting | exact_match | 0.125 (0.022 to 0.471) | 0.875 (0.529 to" in text
    )
    assert (
        "| counting | a seeded maker of this tool | counting | - | CC0-1.0 | program | 60 |" in text
    )
    assert "60 of 60 steps in" in text and "loss 1.3400 at the first step" in text
    assert 'from_pretrained("me/tiny")' in text
    assert "1.0667 times the merged model's" in text and "logits at most 0.0001" in text
    assert "the weights derive from own/base: Apache-2.0" in text


def test_without_scores_it_says_so() -> None:
    run = made()
    shutil.rmtree(run.path / "eval")
    found = publish(run, Path("dist"))
    card = card_of(found)
    assert (
        "No scores yet: nothing was evaluated yet" in card.text and "- not evaluated" in card.text
    )
    assert card.data.eval_results is None
    assert any("no scores yet, and the card says so" in note for note in found.notes)
    assert found.render().endswith("hf upload YOU/tiny dist/hub-tiny . --repo-type model")


def test_scores_of_another_recipe_are_told() -> None:
    run = made()
    serve = dataclasses.replace(run.recipe.serve, context=512)
    other = Run(dataclasses.replace(run.recipe, serve=serve), Path("runs"))
    assert "of before the recipe's last change" in card_of(publish(other, Path("dist"))).text


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("CC-BY-NC-4.0", "allows no commercial use"),
        ("CC-BY-NC-ND-4.0", "allows no changed copies"),
        ("OPT non-commercial", "allows no commercial use"),
        ("unknown", "is not known"),
    ],
)
def test_licences_that_forbid_are_said(licence: str, said: str) -> None:
    source = {"asked": dataclasses.replace(SET, licence=licence)}
    for values in ({"data__sources": source}, {"model": dataclasses.replace(HUB, licence=licence)}):
        found = publish(made(**values), Path("dist"))
        assert any(said in note for note in found.notes)
        assert any(said in line and licence in line for line in str(card_of(found)).splitlines())
        shutil.rmtree("dist")
        shutil.rmtree("runs")


def test_a_licence_that_the_hub_does_not_list() -> None:
    model = dataclasses.replace(HUB, licence="OPT non-commercial")
    found = publish(made(model=model), Path("dist"))
    data = card_of(found).data
    assert data.license == "other" and data.license_name == "opt-non-commercial"
    assert any("belongs into the folder as LICENSE" in note for note in found.notes)


def test_a_base_of_ones_own_is_no_model_of_the_hub(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "LICENSE").write_text("mine")
    model = dataclasses.replace(HUB, source="local", path=str(base))
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n')
    found = publish(made(model=model, data__sources={"mine": jsonl(rows)}), Path("dist"))
    assert card_of(found).data.base_model is None
    assert (found.folder / "LICENSE").read_text() == "mine"
    for name in ("README.md", "recipe.yaml"):  # nothing of this machine
        assert str(tmp_path) not in (found.folder / name).read_text()
    assert any("nothing tells the language of mine" in note for note in found.notes)


def test_a_sweeps_database_is_nobody_elses() -> None:
    sweep = Sweep({"train.lora_r": Axis(values=[8, 64])}, database="sqlite:////srv/me/a.db")
    text = _recipe_text(recipe(sweep=sweep))
    assert "/srv/me" not in text and yaml.safe_load(text)["sweep"]["trials"] == 9


def test_a_folder_that_is_there_is_kept() -> None:
    run = made()
    (publish(run, Path("dist")).folder / "README.md").write_text("my own words")
    (said,) = refused(run)
    assert said.startswith("dist/hub-tiny: there already, and kept")
    assert Path("dist/hub-tiny/README.md").read_text() == "my own words"


def test_all_faults_at_once() -> None:
    run = made()
    shutil.rmtree(run.output("quantize"))
    Path("dist/hub-b").mkdir(parents=True)
    place, there, missing = refused(run, "a/a/b")
    assert place == "TO=a/a/b: no hub id; give it as owner/name, or leave it out"
    assert there.startswith("dist/hub-b") and "quantized: missing" in missing
    assert "make quantize" in missing


def test_files_that_changed_since() -> None:
    run = made()
    (run.output("quantize") / "model.safetensors").write_bytes(b"weighs")
    (said,) = refused(run)
    assert "changed since it was made" in said


def test_a_secret_in_the_recipe() -> None:
    (said,) = refused(made(train={"adapter": "lora", "wandb_name": SECRET}))
    assert said.startswith("recipe.yaml:") and SECRET not in said
    assert not Path("dist/hub-tiny").exists()


def test_names_are_the_hubs() -> None:
    assert licences.hub_id("Llama 2") == "llama2" and licences.hub_id("MIT") == "mit"
    assert licences.hub_id("BigScience RAIL") == "bigscience-bloom-rail-1.0"
    assert HUB_ID.fullmatch("owner/questions")
