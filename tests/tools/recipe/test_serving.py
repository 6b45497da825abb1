"""A recipe's serve section: numbers, rules and adapters, each fault with its file, line and key."""

from pathlib import Path

import pytest

from serve.config import Rule
from serve.limits import faults as limit_faults
from tools.errors import UserError
from tools.recipe.compose import RECIPES
from tools.recipe.load import load
from tools.recipe.show import show


def faults(folder: Path, text: str, *overrides: str) -> list[str]:
    """What is wrong, without the file's name."""
    recipe = folder / "my.yaml"
    recipe.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load(recipe, overrides)
    return [fault.removeprefix(f"{recipe}:") for fault in caught.value.faults]


def test_everything_at_once(tmp_path: Path) -> None:
    text = r"""defaults: [cpu]
serve:
  port: 80
  max_batch: zero
  drain_s: -1
  adapters: {letters: some/folder}
  rules:
    choice:
      extract: '([A-J'
      adapter: leters
      fromat: x
    gsm:
      format: null
      match: {max_new_tokens: 0, promt: x}
      cut: [ok, '(']
    math: {wrap: 3}
    two.words: {format: '{x}{x}'}
    question: 5
train: {lora_rr: 1}
"""
    assert faults(tmp_path, text) == [
        "3: serve.port: must be 1024 to 65535, not 80",
        '4: serve.max_batch: must be a whole number, not "zero"',
        "5: serve.drain_s: must be 0 seconds or more, not -1.0",
        "9: serve.rules.choice.extract: '([A-J' is no regular expression: "
        "unterminated character set at position 1",
        "10: serve.rules.choice.adapter: serve.adapters has no leters; did you mean letters?",
        "11: serve.rules.choice.fromat: unknown key; did you mean serve.rules.choice.format?",
        "14: serve.rules.gsm.match.max_new_tokens: must be at least 1, not 0: "
        "no rule is for scoring",
        "14: serve.rules.gsm.match.promt: unknown key; did you mean serve.rules.gsm.match.prompt?",
        "15: serve.rules.gsm.cut[1]: '(' is no regular expression: "
        "missing ), unterminated subpattern at position 0",
        "16: serve.rules.math.wrap: must be a text, not 3; put it in quotes",
        "17: serve.rules.two.words.format: must hold {x} once, not 2 times; "
        "needs extract, whose group 1 is its {x}",
        "17: serve.rules.two.words: a rule's name is made of letters, digits, _ and -",
        "18: serve.rules.question: must be a mapping, not 5",
        "19: train.lora_rr: unknown key; did you mean train.lora_r?",
    ]


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ("serve: {rules: [1]}", "2: serve.rules: must be a mapping, not [1]"),
        ("serve: {max_bacth: 3}", "2: serve.max_bacth: unknown key; did you mean serve.max_batch?"),
        ("serve: {adapters: {a: 3}}", "2: serve.adapters.a: must be a text, not 3"),
        (
            "serve: {rules: {gsm: {stop: x}}}",
            '2: serve.rules.gsm.stop: must be a list, not "x"',
        ),
        (
            "serve: {rules: {gsm: {cut: [3]}}}",
            "2: serve.rules.gsm.cut[0]: must be a text, not 3",
        ),
        (
            "serve: {rules: {gsm: {match: {prompt: null, max_new_tokens: null}}}}",
            "2: serve.rules.gsm.match: it matches every request",
        ),
    ],
)
def test_one_fault(tmp_path: Path, section: str, fault: str) -> None:
    [found] = faults(tmp_path, f"defaults: [cpu]\n{section}\n")
    assert found.startswith(fault)


def test_a_section_of_the_wrong_kind_is_the_schemas_to_tell(tmp_path: Path) -> None:
    assert "1: serve: must be a mapping, not 3" in faults(tmp_path, "serve: 3\n")


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("serve.rules.choice.extract=(a", "serve.rules.choice.extract: '(a' is no regular"),
        ("serve.rules.gsm.cut=[a,'b(']", "serve.rules.gsm.cut[1]: 'b(' is no regular"),
        ("~serve.rules.gms", "~serve.rules.gms: the recipe has no such key; did you mean serve.r"),
        ("serve.rules.gsm.adapter=x", "serve.rules.gsm.adapter: serve.adapters has no x"),
        ("serve.max_queue=0", "serve.max_queue: must be at least 1 request, not 0"),
    ],
)
def test_faults_of_overrides(tmp_path: Path, override: str, fault: str) -> None:
    [found] = faults(tmp_path, "defaults: [4090]\n", override)
    assert found.startswith(f"--set: {fault}")


def test_overrides() -> None:
    words = [
        "serve.rules.gsm.format=null ~serve.rules.math ~serve.rules.choice.cut",
        r"serve.rules.choice.extract='^\s*([A-E])\b' serve.rules.summary.stop=['###', \"\n\n\"]",
        "serve.rules.mine={match: {max_new_tokens: 7}, cut: [x]} serve.adapters.letters=a/b",
        "serve.rules.letter.adapter=letters",
    ]
    rules = load(RECIPES / "4090.yaml", words).recipe.serve.rules
    assert (rules["gsm"].format, rules["choice"].cut) == (None, [])
    assert rules["gsm"].extract
    assert "math" not in rules
    assert rules["choice"].extract == r"^\s*([A-E])\b"
    assert rules["letter"].adapter == "letters"
    assert (rules["mine"].match.max_new_tokens, rules["mine"].cut) == (7, ["x"])
    assert list(rules)[-1] == "mine"  # one's own rules are tried last


def test_rules_can_be_left_out_altogether() -> None:
    assert load(RECIPES / "4090.yaml", ["~serve.rules"]).recipe.serve.rules == {}


def test_show_tells_where_a_rule_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(RECIPES.parent)
    text = show(load(Path("recipes/4090.yaml"), ["serve.rules.gsm.format='{x}'"]))
    assert "      format: '{x}'  # --set" in text
    assert "        max_new_tokens: 64  # recipes/serve/helm.yaml:" in text


@pytest.mark.parametrize("name", ["4090", "a100", "cpu"])
def test_shipped_sections_are_right(name: str) -> None:
    config = load(RECIPES / f"{name}.yaml").recipe.serve
    assert limit_faults(config) == []
    assert all(isinstance(rule, Rule) for rule in config.rules.values())
    assert len(config.rules) == 8
