"""A corpus of broken recipes, each with what it must be told; and no text that breaks `check`.

A file of tests/faulty/ begins with comments: ``# expect:`` holds a message, whole but for the
corpus's own folder; ``# set:`` an override, ``# args:`` more arguments. Nothing else may be said.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tools import __main__ as cli
from tools.check.findings import check, render
from tools.errors import UserError
from tools.recipe.compose import RECIPES
from tools.recipe.load import load

ROOT = RECIPES.parent
FOLDER = Path("tests/faulty")
FILES = sorted(file.name for file in (ROOT / FOLDER).glob("*.yaml"))


def header(name: str, word: str) -> list[str]:
    text = (ROOT / FOLDER / name).read_text(encoding="utf-8")
    return re.findall(rf"^# {word}: (.*)$", text, re.MULTILINE)


def command(name: str) -> list[str]:
    overrides = [part for text in header(name, "set") for part in ("--set", text)]
    arguments = [part for text in header(name, "args") for part in text.split()]
    return ["check", "--recipe", str(FOLDER / name), *overrides, *arguments]


def faults(text: str, strict: bool) -> list[str]:
    """What a user was told: faults of the file, or failed rules (and warnings, when they count)."""
    verdicts = "fail|warn" if strict else "fail"
    said = re.findall(rf"^(?:error:|(?:{verdicts}) ) (.*)$", text, re.MULTILINE)
    return [line.replace(f"{FOLDER}/", "", 1) for line in said]


def test_the_corpus_is_large() -> None:
    assert len(FILES) >= 60
    assert all(header(name, "expect") for name in FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_broken_recipe_is_told_what_is_wrong(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["oneday", *command(name)])
    try:
        code = cli.main()
    except SystemExit as end:
        code = end.code  # type: ignore[assignment]
    strict = "--strict" in command(name)
    assert code == (1 if strict else 2)
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    told, wanted = faults(out + err, strict), header(name, "expect")
    for message in wanted:
        assert any(line.startswith(message) for line in told), (message, told)
    if not strict:  # other warnings may stand beside it
        assert len(told) == len(wanted), told


@pytest.mark.parametrize("name", ["misspelt_train_key.yaml", "fp8_on_the_a100.yaml", "tab.yaml"])
def test_the_real_command_says_the_same(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools", *command(name)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    assert faults(done.stdout + done.stderr, strict=False)[0].startswith(header(name, "expect")[0])


def attempt(folder: Path, text: str | bytes, *overrides: str) -> None:
    """Whatever is in a recipe: findings or faults, never another exception."""
    recipe = folder / "my.yaml"
    recipe.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
    try:
        assert render(check(load(recipe, overrides)))
    except UserError as error:
        assert error.faults and all(error.faults)


ODD: dict[str, str | bytes] = {
    "no utf-8": b"train: {optimizer: \xe9}",
    "utf-16": "defaults: [cpu]".encode("utf-16"),
    "nul": "defaults: [cpu]\nmodel: {id: \0}",
    "crlf": "defaults: [cpu]\r\ntrain: {lora_r: 8}\r\n",
    "byte order mark": "\ufeffdefaults: [cpu]\n",
    "deep": "defaults: [cpu]\ntrain: {device: " + "[" * 300 + "]" * 300 + "}",
    "so deep that libyaml crashes": "a: " + "[" * 200_000,
    "deep dashes": "- " * 100_000,
    "billion laughs": "a: &a [1, 1]\n"
    + "".join(
        f"{y}: &{y} [{', '.join([f'*{x}'] * 9)}]\n" for x, y in zip("abcdef", "bcdefg", strict=True)
    ),
    "digits": f"defaults: [cpu]\ndata: {{seed: {'9' * 5000}}}",
    "hexadecimal digits": f"defaults: [cpu]\ndata: {{seed: 0x{'f' * 5000}}}",
    "no digits": "defaults: [cpu]\ndata: {seed: 0b_}",
    "key null": "defaults: [cpu]\n~: 1",
    "key list": "? [a, b]\n: 1\n? [a, b]\n: 2",
    "set": "train: !!set {x, y}",
    "pairs": "train: !!omap [x: 1]",
    "binary": "defaults: [cpu]\nmodel: {id: !!binary aGk=}",
    "date": "defaults: [cpu]\nmodel: {id: !!timestamp 2020-99-99}",
    "boolean": "defaults: [cpu]\ntrain: {bf16: !!bool perhaps}",
    "long include": f"defaults: [{'a' * 5000}]",
    "include of nul": 'defaults: ["a\\0b"]',
    "section that holds itself": "defaults: [cpu]\ntrain: {fsdp_config: '${train}'}",
    "section within itself": "defaults: [cpu]\ntrain: {device: {map: '${train.device}'}}",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files(name: str, tmp_path: Path) -> None:
    attempt(tmp_path, ODD[name])


def test_odd_overrides(tmp_path: Path) -> None:
    cpu = "defaults: [cpu]\n"
    deep = "[" * 90 + "]" * 90
    for text in (
        f"train.device={deep}", f"train.device={'[' * 200_000}", "a..b=1", "[=1", "a[=1", ".=1",
        "train.lora_r[0]=1", "~train.lora_target_modules.0", "~", "data.sources={no: 1}", "=",
        "train=3", "a=${b", "a=\udcff", "serve.rules=x", "~serve", "eval.tiers.quick=[{a: 1}]",
    ):  # fmt: skip
        attempt(tmp_path, cpu, text)


KEYS = st.sampled_from(
    "budget hours hardware model data sources train lora_r adapter merge quantize format serve "
    "rules match prompt adapters eval tiers quick tier defaults learning_rate plugins "
    "sweep axes values range log trials keep rungs first layers train.lora_r".split()
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["cpu", "base", "hardware/4090", "${train.lora_r}", "${model}", "${", "???"])
)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(KEYS | st.text(max_size=8), below, max_size=4)
    ),
    max_leaves=12,
)
MANY = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@MANY
@given(tree=st.dictionaries(KEYS, TREES, max_size=5))
def test_no_structure_breaks_check(tree: dict[str, Any], tmp_path: Path) -> None:
    attempt(tmp_path, yaml.safe_dump({"defaults": ["cpu"], **tree}, allow_unicode=True))


YAMLISH = st.lists(
    st.sampled_from(
        ["defaults: [cpu]", "train:", "  lora_r: 8", "- a", "\n", ": ", "[", "]", "{", "}", "&a ",
         "*a", "!!int ", "'", '"', "|", ">", "#", "\t", "?", "<<: *a", "${", "}", "0x_", ".inf"]
    ) | st.text(max_size=6),
    max_size=25,
)  # fmt: skip


@MANY
@given(parts=YAMLISH)
def test_no_text_breaks_check(parts: list[str], tmp_path: Path) -> None:
    attempt(tmp_path, "".join(parts))


@MANY
@given(key=st.lists(KEYS | st.text(max_size=5), max_size=4), value=TREES | st.text(max_size=20))
def test_no_override_breaks_check(key: list[str], value: Any, tmp_path: Path) -> None:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True).strip()
    attempt(tmp_path, "defaults: [cpu]\n", f"{'.'.join(key)}={text}", f"~{'.'.join(key)}")
