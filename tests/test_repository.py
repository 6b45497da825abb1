"""What holds for the whole repository."""

import ast
import re
import subprocess
from pathlib import Path

from tests.house import imports

ROOT = Path(__file__).resolve().parents[1]
SUBMISSIONS = ROOT / "tests" / "submissions"  # other people's folders, faulty on purpose


def tracked(pattern: str = "*") -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def test_no_machine_path_is_in_the_repository() -> None:
    home = re.compile(r"(^|[^A-Za-z0-9_.-])/(home|root|work|opt)/[a-z.]", re.MULTILINE)
    named = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path != Path(__file__)
        and SUBMISSIONS not in path.parents
        and home.search(path.read_text(encoding="utf-8"))
    ]
    assert not named


def test_functions_are_annotated() -> None:
    bare = []
    for path in tracked("*.py"):
        if "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is None:
                bare.append(f"{path.name}:{node.lineno} {node.name}")
    assert not bare


def test_stages_do_not_import_each_other() -> None:
    """They meet in the run folder; that other rooms' imports go down, tests/test_house.py holds."""
    stages = {"train", "merge", "quantize"}
    for stage in stages:
        names = {name for _, name in imports(ROOT / "tools" / "stages" / f"{stage}.py")}
        assert names
        for other in stages - {stage}:
            assert not any(name.startswith(f"tools.stages.{other}") for name in names), stage


def test_every_lock_line_is_pinned() -> None:
    locks = ["train", "dev", "serve", "helm", "gpu", "vllm"]
    lines = [
        line
        for lock in locks
        for line in (ROOT / "requirements" / f"{lock}.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert len(lines) > 300
    assert not [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)]


def test_serving_image_holds_no_trainer() -> None:
    names = (ROOT / "requirements" / "serve.txt").read_text()
    assert "litserve==" in names and "axolotl" not in names and "peft" not in names
    pins = set((ROOT / "requirements" / "train.txt").read_text().splitlines())
    assert {line for line in names.splitlines() if "==" in line} <= pins


def test_dockerfiles_have_both_targets_and_send_nothing_home() -> None:
    for card in ("4090", "a100"):
        text = (ROOT / f"Dockerfile.{card}").read_text()
        assert " AS train" in text and " AS serve" in text and "EXPOSE 80" in text
        assert "AXOLOTL_DO_NOT_TRACK=1" in text and ":latest" not in text
        assert f"HW={card}" in text


def test_help_names_every_documented_target() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("day", "data", "train", "merge", "quantize", "serve", "eval", "show", "check"):
        assert f"make {target}" in done.stdout
