"""The real HELM with our plug-ins, and the hidden scenarios answered by rule."""

import json
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).absolute().parents[4]
PLUGINS = [str(ROOT / "tools/evaluate/helm" / name) for name in ("plugin.py", "hidden.py")]
SCHEMA = ROOT / "tools/evaluate/helm/schema.py"
VENV = Path(os.environ.get("ONEDAY_HELM_VENV", ROOT / ".venv-helm"))
SUITE = "s"


def run(program: str, folder: Path, words: Iterable[str], url: str = "") -> str:
    """What a program of HELM's venv prints; ``folder`` holds benchmark_output.

    Raises:
        AssertionError: it failed; shows what it printed.
    """
    punkt = folder / "nltk_data/tokenizers/punkt_tab/english"
    punkt.mkdir(parents=True, exist_ok=True)
    for name in ("abbrev_types.txt", "collocations.tab", "sent_starters.txt", "ortho_context.tab"):
        (punkt / name).touch()
    env = {**os.environ, "HELM_HTTP_MODEL_BASE_URL": url, "NLTK_DATA": str(folder / "nltk_data")}
    env |= {"HF_HUB_OFFLINE": "1", "no_proxy": "127.0.0.1", "ONEDAY_DATA": str(folder / "data")}
    command = [str(VENV / "bin" / program), *words]
    done = subprocess.run(
        command, cwd=folder, env=env, text=True, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def ask(folder: Path, url: str, entries: Iterable[str]) -> str:
    """Have HELM ask the worker at ``url`` these run entries; returns what it printed."""
    options = ["--suite", SUITE, "-m", "9", "-n", "1", "--disable-cache"]
    words = [*options, "--plugins", *PLUGINS, "--run-entries", *entries]
    return run("helm-run", folder, words, url)


def answer(prompt: str) -> str:
    """The right answer to a question of ``small_data``."""
    if party := re.search(r"party (\d)", prompt):
        return f" Nurse Garcia says that Ben is coming to party {party[1]} with his dog."
    number = re.search(r"\b1\d\b", prompt.rpartition("\n\n")[2])  # of the last block
    return " B" if number and int(number[0]) % 2 else " A"


def read(folder: Path, name: str, file: str) -> Any:
    """A result file of the one run spec whose name begins so."""
    [found] = (folder / "benchmark_output/runs" / SUITE).glob(f"{name}[:,]*/{file}")
    return json.loads(found.read_text(encoding="utf-8"))


def means(folder: Path, name: str) -> dict[str, float | None]:
    """Scores of a run spec, by metric; with ``(NAME)`` after it where HELM took the worst case."""
    found = {}
    for stat in read(folder, name, "stats.json"):
        changed = stat["name"].get("perturbation", {})
        if stat["name"].get("split") == "valid" and changed.get("computed_on", "worst") == "worst":
            kind = f" ({changed['name']})" if changed else ""
            found[stat["name"]["name"] + kind] = stat.get("mean")
    return found
