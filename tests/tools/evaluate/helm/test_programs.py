"""HELM's programs: what they are given, and what their end means."""

from pathlib import Path

import pytest

from tools.errors import StageError, UserError
from tools.evaluate.helm import programs
from tools.evaluate.helm.programs import BROUGHT_BACK, LEAN, LOCAL_MATH, PLUGIN, Helm, plugins
from tools.questions import tiers
from tools.questions.conf import Entry
from tools.recipe.load import load
from tools.recipe.run_entries import HIDDEN
from tools.recipe.schema import Eval

LINE = "2026-01-01 00:00:00,000 INFO     "
ENDED = 'helm.benchmark.runner.RunnerError: Failed runs: ["b", "c"]\n'


def entries(*texts: str) -> list[Entry]:
    return [Entry(text, "here") for text in texts]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["gsm:model=x", "simple_mcqa:model=x"], []),
        (["oneday:skill=a"], [PLUGIN]),
        (["sam_sum"], [BROUGHT_BACK]),
        (["ethics_virtue:data_augmentation=canonical"], [BROUGHT_BACK]),
        (["summarization_cnndm:model=x"], [LEAN]),
        (["summarization_xsum", "corr2cause", "oneday"], [PLUGIN, BROUGHT_BACK, LEAN]),
        (["math:subject=algebra,level=1"], [LOCAL_MATH]),
    ],
)
def test_entries_bring_their_plug_ins(texts: list[str], expected: list[Path]) -> None:
    assert plugins(entries(*texts)) == [path.absolute() for path in expected]


def test_the_plug_ins_are_there() -> None:
    assert PLUGIN.is_file() and LEAN.is_file() and LOCAL_MATH.is_file()
    declared = BROUGHT_BACK.read_text(encoding="utf-8")
    assert all(name in declared or name.removeprefix("ethics_") in declared for name in HIDDEN)


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    log = tmp_path / "eval.log"
    log.write_text("the log's last line\n")
    return Helm(tmp_path, tmp_path, log, log)


def made(helm: Helm, name: str, whole: bool = True) -> None:
    (helm.runs / name).mkdir(parents=True)
    if whole:
        for file in programs.WRITTEN:
            (helm.runs / name / file).write_text("[]")


def test_all_is_well(helm: Helm) -> None:
    made(helm, "a:model=m")
    assert helm._check(0, f"{LINE}Running a:model=m {{\n", True, "open") == {}


def test_does_not_take_a_part_for_the_whole(helm: Helm) -> None:
    made(helm, "a:model=m")  # and b was never begun
    with pytest.raises(StageError, match=r"helm-run ended with -9; .*eval\.log(?s:.)*last line"):
        helm._check(-9, f"{LINE}Running a:model=m {{\n", True, "open")


def test_refused_entries_are_the_users(helm: Helm) -> None:
    with pytest.raises(UserError, match=r"eval\.tier open: HELM refused .*TypeError: mood\); "):
        helm._check(1, "Traceback\n  x\nTypeError: mood\n", False, "open")


def test_names_each_failure_with_its_cause(helm: Helm) -> None:
    made(helm, "a:model=m")
    made(helm, "b:x=1,model=m", whole=False)
    made(helm, "c:model=m", whole=False)
    text = (
        f"{LINE}Error when running b:x=1,model=m:\nTraceback\nValueError: odd\n\n{LINE}x\n"
        f"{LINE}Error when running d:model=m:\nTraceback\nURLError: <urlopen error x>\n\n{LINE}x\n"
    )
    failed = helm._check(1, text + ENDED, True, "open")
    assert list(failed) == ["b:x=1", "c", "d"]
    assert (failed["b:x=1"], failed["c"]) == ("ValueError: odd", "see the log")
    assert failed["d"].startswith("its data is not there") and "urlopen error x" in failed["d"]
    with pytest.raises(StageError, match="helm-run ended with 1"):  # it did not try all
        helm._check(1, text, True, "open")


def test_nothing_scored_is_no_evaluation(helm: Helm) -> None:
    made(helm, "b:x=1,model=m", whole=False)
    text = f"{LINE}Error when running b:x=1,model=m:\nTraceback\nValueError: odd\n\n{LINE}x\n"
    with pytest.raises(StageError, match=r"all 1 run specs failed(?s:.)*  b:x=1: ValueError: odd"):
        helm._check(1, text + ENDED, True, "open")


@pytest.mark.parametrize(
    ("texts", "online", "expected"),
    [
        (["gsm:model=x", "oneday", "sam_sum", "math:subject=algebra"], False, "1"),
        (["synthetic_reasoning:mode=induction", "simple_mcqa"], False, "1"),
        (["math:subject=algebra"], True, "0"),
        (["legalbench:subset=abercrombie", "gsm"], False, None),
        (["mmlu_pro:subset=all,data_augmentation=canonical"], False, None),
    ],
)
def test_the_hub_may_be_asked_for_what_is_not_known(
    texts: list[str], online: bool, expected: str | None
) -> None:
    asked = programs.Asked(entries(*texts), Eval("open", {}, 4, 4), Path("data"), online)
    assert programs.hub(asked).get("HF_HUB_OFFLINE") == expected


@pytest.mark.parametrize("tier", ["quick", "full", "sample", "starter"])
def test_all_that_our_tiers_ask_is_known(tier: str) -> None:
    eval_ = load(Path("recipes/cpu.yaml")).recipe.eval
    eval_.tier = tier
    asked = programs.Asked(tiers.entries(eval_), eval_, Path("data"))
    assert programs.hub(asked) == {"HF_HUB_OFFLINE": "1"}


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        ("", "", "127.0.0.1"),
        ("my.hub,.corp", "", "my.hub,.corp,127.0.0.1"),
        ("", "my.hub", "my.hub,127.0.0.1"),
        ("*", "", "*"),
    ],
)
def test_the_callers_no_proxy_stays(
    monkeypatch: pytest.MonkeyPatch, lower: str, upper: str, expected: str
) -> None:
    monkeypatch.setenv("no_proxy", lower)
    monkeypatch.setenv("NO_PROXY", upper)
    assert programs.no_proxy() == expected


def test_says_how_to_install_helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDAY_HELM_VENV", str(tmp_path / "none"))
    with pytest.raises(UserError, match="none; install it with: make helm"):
        programs.venv()


def test_half_a_file_is_asked_again(helm: Helm) -> None:
    made(helm, "a:model=m")
    half = helm.runs / "a:model=m" / "per_instance_stats.json"
    half.write_text('[{"instance_id": "id1", ')
    with pytest.raises(StageError, match=r"all 1 run specs failed(?s:.)*a: see the log"):
        helm._check(0, f"{LINE}Running a:model=m {{\n", True, "open")
    assert not half.exists()  # else HELM would take the run spec as done
