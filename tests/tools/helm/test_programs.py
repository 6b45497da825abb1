"""HELM's programs: what they are given, and what their end means."""

from pathlib import Path

import pytest

from tools.errors import StageError, UserError
from tools.helm import programs
from tools.helm.conf import Entry
from tools.helm.programs import BROUGHT_BACK, LEAN, LOCAL_MATH, PLUGIN, Helm, plugins
from tools.run_entries import HIDDEN

LINE = "2026-01-01 00:00:00,000 INFO     "


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
    helm._check(0, f"{LINE}Running a:model=m {{\n", True, "open")


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
    with pytest.raises(StageError) as caught:
        helm._check(1, text, True, "open")
    head, *lines = str(caught.value).splitlines()
    assert head.startswith("eval: 3 run specs failed, the others are kept; log: ")
    assert lines[:2] == ["  b:x=1: ValueError: odd", "  c: see the log"]
    assert lines[2].startswith("  d: its data is not there") and "urlopen error x" in lines[2]


def test_says_how_to_install_helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDAY_HELM_VENV", str(tmp_path / "none"))
    with pytest.raises(UserError, match="none; install it with: make helm"):
        programs.venv()


def test_half_a_file_is_asked_again(helm: Helm) -> None:
    made(helm, "a:model=m")
    half = helm.runs / "a:model=m" / "per_instance_stats.json"
    half.write_text('[{"instance_id": "id1", ')
    with pytest.raises(StageError, match=r"1 run specs failed(?s:.)*a: see the log"):
        helm._check(0, f"{LINE}Running a:model=m {{\n", True, "open")
    assert not half.exists()  # else HELM would take the run spec as done
