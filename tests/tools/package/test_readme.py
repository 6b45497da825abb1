"""The submission's README: every command is right for its recipe; those that can be run are run."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from serve.launch import parse_arguments
from tests.tiny import recipe
from tools.package import readme
from tools.package.names import ROOT
from tools.schema import Publish, Recipe

FILES = {
    "model.safetensors": {"size": 2_000_000_000, "sha256": "a" * 64},
    "config.json": {"size": 100, "sha256": "b" * 64},
}
HUB = {"source": "hub", "id": "me/x", "revision": "c" * 40, "files": FILES}
URL = {"source": "url", "url": "https://x.org/m", "files": FILES}
REBUILT = {"source": "rebuild", "files": FILES}
CARD = recipe(hardware__device="cuda", hardware__track="4090", publish=Publish("hub"), name="4090")
MINE = recipe(publish=Publish("rebuild"), name="My own_Recipe")
CASES = [(CARD, HUB), (CARD, URL), (CARD, REBUILT), (MINE, REBUILT), (MINE, URL)]


def render(made: Recipe, weights: dict[str, Any]) -> str:
    return readme.render(made, weights)


def commands(text: str) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize(("made", "weights"), CASES)
def test_no_word_is_left_open(made: Recipe, weights: dict[str, Any]) -> None:
    text = render(made, weights)
    assert not re.search(r"\{[a-z_]+\}", text)
    prose = re.sub(r"```bash.*?```", "", text, flags=re.DOTALL)
    assert max(map(len, prose.splitlines())) <= 125
    assert ("--gpus" in text) == (made is CARD)


@pytest.mark.parametrize(("made", "weights"), CASES)
def test_image_names_are_the_organizers(made: Recipe, weights: dict[str, Any]) -> None:
    tags = re.findall(r"docker build .*?-t (\S+)", render(made, weights))
    assert tags and all(re.fullmatch(r"submission_[a-z0-9_]+", tag) for tag in tags)


@pytest.mark.parametrize(("made", "weights"), CASES)
def test_make_and_python_know_the_words(made: Recipe, weights: dict[str, Any]) -> None:
    seen = 0
    for line in commands(render(made, weights)):
        if match := re.search(r"(?:^| )make (.*)", line):
            words = ["make", *shlex.split(match[1]), "--dry-run"]
            done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            seen += 1
        if match := re.search(r"-m serve\.launch (.*)", line):
            parse_arguments(shlex.split(match[1]))
            seen += 1
    assert seen >= 3


@pytest.mark.parametrize(("made", "weights"), CASES)
def test_files_it_names_are_there(made: Recipe, weights: dict[str, Any]) -> None:
    for name in re.findall(r"requirements/\S+\.txt", render(made, weights)):
        assert (ROOT / name).is_file(), name


def test_who_fetches_is_told_from_where() -> None:
    assert f"me/x at commit {'c' * 40} on the Hugging Face hub" in render(CARD, HUB)
    assert "https://x.org/m" in render(CARD, URL)
    assert "2.00 GB in 2 files (1 of tensors)" in render(CARD, URL)


def test_rebuilt_weights_are_made_first() -> None:
    found = [line for line in commands(render(MINE, REBUILT)) if line.startswith("docker")]
    assert found[0] == "docker build --target train -t submission_my_own_recipe_train ."
    assert "--model runs/my-own-recipe/quantized" in found[3]


def test_merged_weights_have_their_own_folder() -> None:
    made = recipe(quantize__format="none", publish=Publish("rebuild"), name="m")
    assert "--model runs/m/merged" in render(made, REBUILT)


def test_curl_s_body_is_json() -> None:
    (body,) = re.findall(r"-d '(.*?)'", render(CARD, HUB))
    assert json.loads(body) == {"prompt": "The capital of France is "}
    assert Path(ROOT / "openapi.json").is_file()
