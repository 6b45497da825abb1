"""Check: the shipped recipes pass, and each rule can fail."""

import pytest

from tools.check import RULES, check, exit_code, render
from tools.compose import RECIPES
from tools.recipe import load


def verdicts(name: str, *overrides: str, track: str | None = None) -> dict[str, str]:
    """The worst verdict a rule."""
    found: dict[str, str] = {}
    for finding in check(load(RECIPES / f"{name}.yaml", overrides), track):
        found[finding.rule] = max(
            found.get(finding.rule, "pass"), finding.verdict, key=_WORSE.index
        )
    return found


_WORSE = ["pass", "warn", "fail"]


@pytest.mark.parametrize("name", ["4090", "a100"])
def test_shipped_recipes_are_eligible(name: str) -> None:
    findings = check(load(RECIPES / f"{name}.yaml"))
    assert exit_code(findings) == 0
    assert len({finding.rule for finding in findings}) == len(RULES) + 1


BREAKS = [
    ("family", "4090", "model.family=Gemma", "fail"),
    ("family", "4090", "model.family=mistral", "pass"),
    ("base model", "4090", "model.instruct=true", "fail"),
    ("model licence", "4090", "model.licence=Gemma", "fail"),
    ("data licence", "4090", "data.sources.dolly.licence=unknown", "fail"),
    ("data origin", "4090", "data.sources.dolly.origin=GPT-4", "fail"),
    ("data origin", "4090", "data.sources.dolly.origin=ChatGPT-3.5-turbo", "fail"),
    ("data origin", "4090", "data.sources.dolly.origin=nobody", "fail"),
    ("data origin", "4090", "data.sources.dolly.origin=Mistral-7B-v0.1", "pass"),
    ("data origin", "4090", "data.sources.dolly.origin=Llama-2-7b", "fail"),
    ("data origin", "4090", "data.sources.dolly.origin=Llama-2-7b model.family='Llama 2'", "pass"),
    ("budget", "4090", "budget.hours=24.5", "fail"),
    ("budget", "4090", "budget.hours=0", "fail"),
    ("budget", "4090", "budget.hours=1 budget.reserve_minutes=60", "fail"),
    ("one GPU", "4090", "train.tensor_parallel_size=2", "fail"),
    ("one GPU", "4090", "train.tensor_parallel_size=1", "pass"),
    ("one GPU", "4090", "train.fsdp_config={offload_params: true}", "fail"),
    ("reproducible", "4090", "model.revision=''", "warn"),
    ("quantize format", "a100", "quantize.format=fp8", "fail"),
    ("quantize format", "4090", "quantize.format=fp8", "pass"),
    ("lengths", "4090", "train.sequence_len=8193", "fail"),
    ("lengths", "4090", "train.sample_packing=false", "warn"),
    ("lengths", "4090", "serve.context=4096", "warn"),
    ("lengths", "4090", "serve.context=16384", "fail"),
    ("padding", "4090", "model.pad='</s>'", "fail"),
    ("adapter", "4090", "~train.load_in_4bit", "fail"),
    ("adapter", "4090", "train.adapter=lora", "fail"),
    ("bf16", "cpu", "train.bf16=true", "fail"),
    ("bf16", "4090", "hardware.capability='7.5'", "fail"),
    ("eval tier", "4090", "eval.tier=quik", "fail"),
]


@pytest.mark.parametrize(("rule", "name", "override", "verdict"), BREAKS)
def test_each_rule(rule: str, name: str, override: str, verdict: str) -> None:
    assert verdicts(name, override)[rule] == verdict


def test_every_rule_was_seen_to_fail() -> None:
    broken = {rule for rule, _, _, verdict in BREAKS if verdict != "pass"}
    assert broken == {rule.name for rule in RULES}


def test_the_demo_is_told_that_it_is_not_eligible() -> None:
    findings = check(load(RECIPES / "cpu.yaml"))
    assert exit_code(findings) == 0
    instruct = next(finding for finding in findings if finding.rule == "base model")
    assert instruct.verdict == "warn"
    assert "an instruct model is not eligible for the challenge" in instruct.message
    assert "demo track: not eligible" in instruct.message


def test_the_demo_still_fails_where_it_cannot_work() -> None:
    found = verdicts("cpu", "quantize.format=fp8")
    assert found["quantize format"] == "fail"


def test_a_track_of_choice_is_strict() -> None:
    found = verdicts("cpu", track="4090")
    assert (found["track"], found["base model"], found["family"]) == ("fail", "fail", "fail")


def test_render() -> None:
    findings = check(load(RECIPES / "a100.yaml", ["quantize.format=fp8"]))
    text = render(findings)
    assert "fail  quantize format: quantize.format fp8 does not run on a100" in text
    assert "set quantize.format to one of none, nf4, int8, int4" in text
    assert text.splitlines()[-1].endswith("1 fail")
    assert exit_code(findings) == 2
