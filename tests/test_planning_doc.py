"""docs/planning.md: its commands are run, its numbers are those of the code."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tools.plan import probes, speed
from tools.plan.memory import CONTEXT, LOSS_BYTES, peak
from tools.plan.points import TOLERANCE, TOLERANCE_KEPT
from tools.plan.verdict import FULL, GIB, TIGHT
from tools.recipe.compose import RECIPES

ROOT = RECIPES.parent
TEXT = (ROOT / "docs" / "planning.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    return [re.sub(r"\s+# .*", "", line) for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("command", commands())
def test_command_runs(command: str) -> None:
    if "POINTS=" in command and not (ROOT / "../shared/golden").is_dir():
        pytest.skip("the published points are not in this checkout")
    done = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True)
    if "PROBE=1" in command and done.returncode:
        assert "error: PROBE=1 measures on a GPU" in done.stderr  # without one
    else:
        assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_there_are_commands() -> None:
    assert len(commands()) == 7


def test_the_verdict_shown_is_what_is_said() -> None:
    (shown,) = re.findall(r"^plan: birbal .*$", TEXT, re.MULTILINE)
    recipe = "RECIPE=recipes/presets/birbal.yaml"
    done = subprocess.run(
        ["make", "--silent", "plan", recipe], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[0] == shown


def test_numbers_are_the_codes() -> None:
    assert f"over {TIGHT:.0%}".replace("%", " %") in TEXT
    assert f"(over {FULL:.0%}".replace("%", " %") in TEXT
    assert f"within {TOLERANCE:.0%}".replace("%", " %") in TEXT
    assert f"checkpointing within {TOLERANCE_KEPT:.0%}".replace("%", " %") in TEXT
    hf, chunked, liger, old = (LOSS_BYTES[name] for name in ("hf", "chunked", "liger", "hf_2024"))
    assert f"{hf:g} (hf), {chunked:g} (chunked; 8 with several rows a pass) or {liger:g}" in TEXT
    assert f"{old:g} bytes a token and word" in TEXT
    assert f"as much as {speed._PASS} tokens more" in TEXT
    assert f"factor {speed._SAME} up and down" in TEXT and f", {speed._OTHER}. Rows" in TEXT
    assert f"x {speed.TOKENS_A_ROW} tokens" in TEXT and f"{speed.BYTES_A_TOKEN} bytes" in TEXT


def test_the_measured_runs_are_the_shipped_ones() -> None:
    for one in probes.known(Path("nowhere")):
        gib = (peak(one.job).total - CONTEXT) / GIB
        off = f"{gib / one.peak_gib - 1:+.1%}".replace("%", " %")
        row = f"| {one.job.tokens:,} | {gib:.1f} | {one.peak_gib} | {off} | {one.tokens_per_s:,} |"
        assert row in TEXT


def test_the_proposals_shown_are_what_is_said() -> None:
    shown = TEXT.partition("```\nfaster, by formula")[2].partition("```")[0]
    done = subprocess.run(
        ["make", "--silent", "plan", "HW=a100"], cwd=ROOT, capture_output=True, text=True
    )
    assert shown.strip() and done.stdout.endswith(f"faster, by formula{shown}")


def test_shares_are_the_codes() -> None:
    named = {"A100": "8.0", "RTX 4090": "8.9"}
    for card, capability in named.items():
        cells = [speed._SHARES[capability, method] for method in ("qlora", "lora")]
        row = " | ".join(f"{100 * low:.0f} to {100 * high:.0f} %" for low, high in cells)
        assert f"| {card} | {row} |" in TEXT
    low, high = speed._ANY
    assert f"| others | {100 * low:.0f} to {100 * high:.0f} %" in TEXT


def test_the_formats_shown_are_those_that_are_said() -> None:
    words = ["make", "--silent", "plan", "HW=4090", "SET=quantize.format=auto"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    shown = re.findall(r"^(formats: .*|  +disk .*|[* ] (?:none|int8) .*)$", TEXT, re.MULTILINE)
    assert len(shown) == 4 and set(shown) <= set(done.stdout.splitlines())
