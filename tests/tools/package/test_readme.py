"""The submission's README: each command is held, word by word, against what it calls.

No Docker, pip, curl or network is needed: Make is run dry, the other words are parsed.
"""

import argparse
import re
import shlex
import subprocess
from typing import Any, NoReturn

import pytest

from serve.contract import ProcessRequest, openapi_document
from serve.launch import parse_arguments
from tests.tiny import recipe
from tools.package import image, readme
from tools.package.names import ROOT, make_words
from tools.recipe.schema import Publish, Recipe

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


def dockerfile_of(made: Recipe) -> str:
    return image.adapt(ROOT, made, make_words(made.name), [])


class Exact(argparse.ArgumentParser):
    """Takes the options it has, written out, and says what it does not know."""

    def __init__(self) -> None:
        super().__init__(allow_abbrev=False, exit_on_error=False, add_help=False)

    def error(self, message: str) -> NoReturn:
        raise AssertionError(message)


def docker_build(words: list[str], dockerfile: str) -> str:
    """The tag of a ``docker build`` of the submission's own folder."""
    parser = Exact()
    parser.add_argument("-t", required=True)
    parser.add_argument("--target")
    parser.add_argument("folder", choices=["."])
    options = parser.parse_args(words)
    stages = re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE)
    assert options.target in (None, *stages)
    return str(options.t)


def docker_run(words: list[str], dockerfile: str) -> tuple[str, list[str]]:
    """The image of a ``docker run``, and the command behind it."""
    parser = Exact()
    parser.add_argument("-d", action="store_true")
    parser.add_argument("--gpus", choices=["all"])
    parser.add_argument("-p")
    parser.add_argument("-v", action="append", default=[])
    parser.add_argument("--name")
    parser.add_argument("image")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(words)
    assert options.p in (None, "8080:80") and "\nEXPOSE 80\n" in dockerfile
    made = re.search(r"mkdir (.*?) &&", dockerfile)
    assert made
    for volume in options.v:
        name, target, *how = volume.split(":")
        assert re.fullmatch(r"[a-z0-9_]+", name) and how in ([], ["ro"])
        assert target.removeprefix("/app/") in made[1].split()
    return options.image, options.command


def curl(words: list[str]) -> None:
    """A call of the port that ``docker run`` maps, as ``serve.contract`` has it."""
    parser = Exact()
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-H", choices=["Content-Type: application/json"])
    parser.add_argument("-d")
    parser.add_argument("url")
    options = parser.parse_args(words)
    route = options.url.removeprefix("http://127.0.0.1:8080")
    operation = openapi_document()["paths"][route]["post" if options.d else "get"]
    if "requestBody" in operation:
        assert options.H and route == "/process"
        assert ProcessRequest.model_validate_json(options.d, strict=True)


def pip(words: list[str]) -> None:
    """An install from a lock that has a hash for each package."""
    parser = Exact()
    parser.add_argument("command", choices=["install"])
    parser.add_argument("--require-hashes", action="store_true", required=True)
    parser.add_argument("--extra-index-url", choices=[image.CPU_TORCH])
    parser.add_argument("--requirement", required=True)
    lock = (ROOT / parser.parse_args(words).requirement).read_text(encoding="utf-8")
    pins = [line for line in lock.replace("\\\n", "").splitlines() if "==" in line]
    assert pins and all("--hash=sha256:" in line for line in pins)


def make(words: list[str]) -> None:
    words = ["make", *words, "--dry-run"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def inner(words: list[str]) -> None:
    """A command that needs no Docker, or that is put behind an image's name."""
    match words:
        case []:
            pass  # the image's own
        case ["make", *rest]:
            make(rest)
        case [".venv/bin/python" | "python", "-m", "serve.launch", *rest]:
            parse_arguments(rest)
        case ["python3.12", "-m", "venv", ".venv"]:
            assert 'requires-python = ">=3.12,<3.13"' in (ROOT / "pyproject.toml").read_text()
        case [".venv/bin/pip", *rest]:
            pip(rest)
        case ["curl", *rest]:
            curl(rest)
        case _:
            pytest.fail(f"nothing here tests {shlex.join(words)}")


@pytest.mark.parametrize(("made", "weights"), CASES)
def test_every_command_is_known_with_all_its_words(made: Recipe, weights: dict[str, Any]) -> None:
    lines = [shlex.split(line) for line in commands(render(made, weights))]
    dockerfile, built = dockerfile_of(made), set[str]()
    for line in lines:
        match line:
            case ["docker", "build", *rest]:
                built.add(docker_build(rest, dockerfile))
            case ["docker", "run", *rest]:
                name, command = docker_run(rest, dockerfile)
                assert name in built, "an image is built before it is run"
                inner(command)
            case _:
                inner(line)
    assert len(lines) >= 9


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
