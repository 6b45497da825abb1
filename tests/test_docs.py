"""docs/: what they show is run, what they list is compared with what there is."""

import dataclasses
import json
import re
import shlex
import subprocess
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

from serve.config import ServeConfig
from serve.contract import FAILURES, ProcessRequest
from serve.ensemble import MOST
from tests.serve.conftest import RunningServer, _start_server, byte_level_tokenizer, save_model
from tools.recipe.load import load

ROOT = Path(__file__).resolve().parents[1]
SERVING = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


def shell(start: str) -> list[str]:
    """Commands of the document's bash blocks that start so, without their comments."""
    blocks = re.findall(r"```bash\n(.*?)```", SERVING, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [re.sub(r"\s+# .*", "", line) for line in lines if line.startswith(start)]


def rows(after: str) -> dict[str, list[str]]:
    """The table that follows a phrase: other cells by the first one."""
    table = re.search(r"(?:^\|.*\n)+", SERVING[SERVING.index(after) :], re.MULTILINE)
    assert table
    cells = [
        [cell.strip() for cell in line.strip("|\n ").split("|")] for line in table[0].split("\n")
    ]
    return {row[0].strip("`"): row[1:] for row in cells[2:] if len(row) > 1}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    root = tmp_path_factory.mktemp("docs")
    folder = save_model(root / "model", byte_level_tokenizer())
    with _start_server(folder, root / "log") as running:
        running.wait_ready(120)
        yield running


@pytest.mark.parametrize("command", shell("curl"))
def test_request_is_answered(command: str, server: RunningServer) -> None:
    words = shlex.split(command.replace("http://127.0.0.1:8080", server.url))
    done = subprocess.run([*words, "--fail-with-body"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "metrics" in command or json.loads(done.stdout)


@pytest.mark.parametrize("command", shell("make"))
def test_make_knows_the_target(command: str) -> None:
    done = subprocess.run(
        [*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", shell(".venv/bin/python -m serve"))
def test_the_module_takes_the_options(command: str) -> None:
    from serve.__main__ import parse_arguments

    words = shlex.split(command)
    assert parse_arguments(words[3:])


def test_settings_are_all_there_with_their_defaults() -> None:
    listed = {key: cells[0].strip("`") for key, cells in rows("Under `serve:`").items()}
    real = {
        field.name: getattr(ServeConfig(), field.name) for field in dataclasses.fields(ServeConfig)
    }
    texts = {key: str(value).lower() if isinstance(value, bool) else str(value or "none")
             for key, value in real.items()}  # fmt: skip
    zero = {key: "0" for key, value in real.items() if value == 0 and value is not False}
    assert listed == texts | zero


def test_fields_are_all_there() -> None:
    assert set(rows("openapi.json`](")) == set(ProcessRequest.model_fields)


def test_statuses_are_all_there() -> None:
    assert {int(status) for status in rows("| status")} == set(FAILURES)


def test_engines_are_all_there() -> None:
    assert set(rows("## Engines")) == set(
        typing.get_args(typing.get_type_hints(ServeConfig)["engine"])
    )


def test_metrics_are_all_there(server: RunningServer) -> None:
    requests.post(f"{server.url}/process", json={"prompt": "x", "max_new_tokens": 1}, timeout=60)
    text = requests.get(f"{server.url}/metrics", timeout=60).text
    real = set(re.findall(r"^# TYPE (oneday_\w+)", text, re.MULTILINE))
    real = {name for name in real if not name.endswith("_created")}
    assert set(re.findall(r"`(oneday_\w+)`", SERVING)) == real


def test_the_rules_shown_load(tmp_path: Path) -> None:
    rules, ensemble = re.findall(r"```yaml\n(.*?)```", SERVING, re.DOTALL)
    content = yaml.safe_load(rules)
    content["serve"]["adapters"] = {"geography": str(tmp_path)}
    recipe = tmp_path / "my.yaml"
    recipe.write_text(yaml.safe_dump({"defaults": ["cpu"], **content}))
    assert "capital" in load(recipe).recipe.serve.rules
    recipe.write_text("defaults: [cpu]\n" + ensemble)
    assert load(recipe).recipe.serve.rules["choice"].ensemble == ["facts", "sums", ""]
    assert f"Two to {MOST} members".replace("8", "eight") in SERVING


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", SERVING):
        assert target.startswith("http") or (ROOT / "docs" / target).exists(), target
