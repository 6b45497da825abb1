"""HELM's programs at work in a stage's folder: helm-run, then helm-summarize."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.console import environment
from tools.errors import StageError, UserError
from tools.evaluate.helm import faults
from tools.evaluate.helm.log import Log, Progress, failures, plain
from tools.evaluate.worker import HOST, child, last_lines, listening
from tools.files import read_json, write_text
from tools.questions import conf
from tools.questions.conf import Entry
from tools.questions.needs import needs
from tools.recipe.run_entries import HIDDEN, parts
from tools.recipe.schema import Eval

SUITE = "oneday"
OUTPUT = "benchmark_output"
CONF = "run_specs.conf"  # what was asked, for whoever calls helm-run by hand
SCHEMA = "schema.yaml"
WRITTEN = ("stats.json", "per_instance_stats.json")  # of a run spec, last
ALL_TRIED = "RunnerError: Failed runs: ["  # HELM's last words where it went through all run specs
POLL_SECONDS = 0.5

# Scenarios that make their questions up or take the run's own; what else is known, needs.py says.
WITHOUT_DATA = (
    "oneday",
    "dyck_language",
    "simple1",
    "simple_classification",
    "simple_mcqa",
    "simple_short_answer_qa",
    "synthetic_reasoning",
    "synthetic_reasoning_natural",
)

_HERE = Path(__file__).parent
PLUGIN = _HERE / "plugin.py"
LEAN = _HERE / "lean.py"
LOCAL_MATH = _HERE / "local_math.py"
BROUGHT_BACK = _HERE / "hidden.py"
MAKE_SCHEMA = _HERE / "schema.py"
ROOT = Path(__file__).absolute().parents[3]  # hidden.py imports tools.questions from here


def venv() -> Path:
    """The venv that holds HELM.

    Raises:
        UserError: it is not there.
    """
    found = Path(os.environ.get("ONEDAY_HELM_VENV", ".venv-helm")).absolute()
    if not (found / "bin" / "helm-run").is_file():
        raise UserError(f"HELM is not installed in {found}; install it with: make helm")
    return found


def plugins(entries: list[Entry]) -> list[Path]:
    """The plug-ins that these entries need, as absolute paths."""
    names = {parts(entry.description)[0] for entry in entries}
    found = [PLUGIN] if "oneday" in names else []
    found += [BROUGHT_BACK] if names & set(HIDDEN) else []
    found += [LOCAL_MATH] if "math" in names else []
    found += [LEAN] if any(name.startswith("summarization_") for name in names) else []
    return [path.absolute() for path in found]


@dataclass(frozen=True)
class Asked:
    """What HELM is told.

    Attributes:
        entries: the run entries, their model ours.
        eval: the recipe's ``eval`` section.
        data: folder of the data stage.
        online: whether it may ask the hub for a data set.
    """

    entries: list[Entry]
    eval: Eval
    data: Path
    online: bool = False


def hub(asked: Asked) -> dict[str, str]:
    """Whether HELM may ask the hub, as its environment says it.

    Not where all data is known to be here. A scenario that is not known may load its data from the
    hub, so there the caller's own setting holds.
    """
    if asked.online:
        return {"HF_HUB_OFFLINE": "0"}
    names = {parts(entry.description)[0] for entry in asked.entries}
    known = all(name in WITHOUT_DATA or needs(name) for name in names)
    return {"HF_HUB_OFFLINE": "1"} if known else {}


def no_proxy() -> str:
    """Hosts for which no proxy is asked: the caller's, and this machine, where the worker is."""
    theirs = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if theirs.strip() == "*":  # all hosts, but only where it stands alone
        return theirs
    return f"{theirs},{HOST}" if theirs else HOST


class Helm:
    """HELM's programs.

    Args:
        scripts: where HELM is installed: a venv's folder.
        folder: the stage's folder, the programs' working directory.
        log: what they print is added to it.
        worker_log: named when the worker dies.

    Attributes:
        runs: the folder of the suite's run specs.
    """

    def __init__(self, scripts: Path, folder: Path, log: Path, worker_log: Path) -> None:
        self._bin, self._folder = scripts / "bin", folder
        self._log, self._worker_log = log, worker_log
        self.runs = folder / OUTPUT / "runs" / SUITE

    def ask(self, url: str, asked: Asked) -> dict[str, str]:
        """Put all questions to the worker at ``url`` and score the answers.

        Returns:
            The cause of each run spec that failed, by its name without the model.

        Raises:
            UserError: HELM refuses the entries.
            StageError: the worker or HELM died, or every run spec failed.
        """
        punkt = self._folder.absolute() / "nltk_data"
        _write_punkt(punkt)
        env = {
            "HELM_HTTP_MODEL_BASE_URL": url,  # else HELM posts to None/process
            "ONEDAY_DATA": str(asked.data.absolute()),
            "NLTK_DATA": str(punkt),
            "no_proxy": no_proxy(),  # else requests uses a proxy even for this machine
            **hub(asked),
        }
        write_text(self._folder / CONF, conf.render(asked.entries))
        # HELM never caches a worker's answers: --disable-cache spares us its empty databases.
        options: list[Any] = ["--skip-completed-runs", "--disable-cache", "--conf-paths", CONF]
        options += ["-m", asked.eval.max_instances, "-n", asked.eval.threads]
        if needed := plugins(asked.entries):
            options += ["--plugins", *needed]
        known = set(_whole_ones(self.runs))  # before HELM looks: what is broken goes
        log = Log(self._log)
        progress = Progress(log, known, asked.eval.limit_minutes)
        with self._start("helm-run", options, env) as process:
            code = self._follow(process, url, progress)
        return self._check(code, log.text(), bool(log.started), asked.eval.tier)

    def summarize(self) -> None:
        """Make the tables of HELM's own web pages, BIG-bench and the hidden stage among them.

        Raises:
            StageError: a program of HELM's failed.
        """
        suite = Path(OUTPUT) / "runs" / SUITE
        self._finish("python", [MAKE_SCHEMA.absolute(), SCHEMA, suite])
        options = ["--suite", SUITE, "--output-path", OUTPUT, "--schema-path", SCHEMA]
        self._finish("helm-summarize", options)

    def _finish(self, program: str, words: list[Any]) -> None:
        with self._child(program, words, {"HF_HUB_OFFLINE": "1"}) as process:
            if process.wait():
                raise StageError(f"eval: {program} failed; {self._log}:\n{last_lines(self._log)}")

    def _start(
        self, program: str, options: list[Any], env: dict[str, str]
    ) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        return self._child(program, ["--suite", SUITE, "--output-path", OUTPUT, *options], env)

    def _child(
        self, program: str, words: list[Any], env: dict[str, str]
    ) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        command = [str(word) for word in (self._bin / program, *words)]
        # Unbuffered: its log is read while it works.
        env = environment(PYTHONUNBUFFERED="1", PYTHONPATH=str(ROOT), **env)
        return child(command, self._log, env, self._folder)

    def _follow(self, process: subprocess.Popen[bytes], url: str, progress: Progress) -> int:
        """Wait for HELM, not beyond the worker's end: it would retry each question for minutes."""
        try:
            while process.poll() is None:
                progress.update()
                if not listening(url):
                    log = self._worker_log
                    raise StageError(f"eval: the worker died; {log}:\n{last_lines(log)}")
                time.sleep(POLL_SECONDS)
            return process.returncode
        finally:
            progress.close()

    def _check(self, code: int, text: str, begun: bool, tier: str) -> dict[str, str]:
        """Every run spec was tried; a failed one leaves a folder without stats.json."""
        if not begun:
            cause = f"HELM refused the entries ({faults.explain(text)})"
            raise UserError(f"eval.tier {tier}: {cause}; correct them; log: {self._log}")
        if code and ALL_TRIED not in text:
            raise StageError(
                f"eval: helm-run ended with {code}; {self._log}:\n{last_lines(self._log)}"
            )
        causes, whole = failures(text), set(_whole_ones(self.runs))
        names = [path.name for path in run_folders(self.runs) if path.name not in whole]
        names += [name for name in causes if name not in names]
        failed = {plain(name): faults.explain(causes.get(name, "")) for name in names}
        if not whole:
            lines = [f"  {name}: {cause}" for name, cause in failed.items()]
            head = f"eval: all {len(failed)} run specs failed; log: {self._log}"
            raise StageError("\n".join([head, *lines]))
        return failed


def run_folders(runs: Path) -> list[Path]:
    """The folders of a suite's run specs."""
    return sorted(path for path in runs.glob("*model=*") if path.is_dir())


def _whole_ones(runs: Path) -> Iterator[str]:
    """Names of run specs whose results are whole.

    HELM takes a run spec as done when its files are there, and writes them in place: one that was
    killed at the last may leave half a file, and would never be asked again. So what cannot be
    read is removed.
    """
    for folder in run_folders(runs):
        broken = [folder / name for name in WRITTEN if read_json(folder / name) is None]
        for file in broken:
            file.unlink(missing_ok=True)
        if not broken:
            yield folder.name


def _write_punkt(root: Path) -> None:
    """A sentence splitter for HELM's F1 and ROUGE, which else download NLTK's at metric time.

    Splitting matters little there (answers are a line long), so a few abbreviations of our own do.
    """
    folder = root / "tokenizers" / "punkt_tab" / "english"
    folder.mkdir(parents=True, exist_ok=True)
    abbreviations = "\n".join(["dr", "mr", "mrs", "ms", "e.g", "i.e", "vs", "u.s", "st", ""])
    (folder / "abbrev_types.txt").write_text(abbreviations, encoding="utf-8")
    for name in ("collocations.tab", "sent_starters.txt", "ortho_context.tab"):  # NLTK opens all
        (folder / name).write_text("", encoding="utf-8")
