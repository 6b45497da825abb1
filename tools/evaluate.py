"""The eval verb: the real HELM asks the worker the tier's questions and scores the answers.

HELM lives in a venv of its own (its pins clash with Axolotl's). What it writes stays whole in the
stage's folder, so ``helm-server --suite oneday`` shows every prompt and answer there;
``scores.json`` is the extract.
"""

import contextlib
import json
import math
import os
import re
import statistics
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from tools.console import bar, environment, say
from tools.errors import StageError, UserError
from tools.faults import nearest
from tools.run import Run, read_json, write_json
from tools.schema import Eval, Recipe
from tools.worker import child, last_lines, listening, serving

Score = dict[str, Any]
Who = Literal["base", "tuned"]

MODEL = "neurips/local"  # HELM's deployment for the challenge's wire contract
SUITE = "oneday"
OUTPUT = "benchmark_output"
POLL_SECONDS = 0.5
PLUGIN = Path(__file__).with_name("helm_plugin.py")
SCORES = "scores.json"

# A scenario's main metric is the first of these it has; the order matters to none that HELM ships.
HEADLINES = (
    "exact_match",
    "exact_match_indicator",
    "exact_set_match",
    "math_equiv_chain_of_thought",
    "rouge_2",
)
ALSO = ("quasi_exact_match", "final_number_exact_match", "f1_score", "f1_set_match")

# HELM's log: the only place where it says how far it is and why a run failed.
TOTAL = re.compile(r"entries produced (\d+) run specs")
RUNNING = re.compile(r"^\S+ \S+ INFO +Running (\S+) \{$", re.MULTILINE)
FAILED = re.compile(r"Error when running (\S+):\n(.*?)\n(?=\d{4}-\d\d-\d\d )", re.DOTALL)


def evaluate(recipe: Recipe, run: Run, who: Who, model: Path) -> dict[str, Score]:
    """Make ``eval/base/`` or ``eval/tuned/``; an interrupted evaluation goes on where it was.

    Args:
        recipe: the resolved recipe.
        run: its run folder; the data stage must be done.
        who: whether ``model`` is the base or the tuned model.
        model: folder of the model to serve.

    Returns:
        By run spec: ``metric``, ``value``, ``split``, ``instances``, ``seconds_per_answer`` and
        ``also`` (other metrics of interest).

    Raises:
        UserError: HELM is not installed, or knows no such tier or entry.
        StageError: the worker died, or run specs failed (each is named with its cause).
    """
    venv = helm_venv()
    entries = expand(_tier(recipe.eval, venv), _skills(run))
    worker_log = run.logs / f"worker_{who}.log"
    with run.produce(f"eval_{who}", resume=True) as work:
        helm = _Helm(venv, work.folder, run.logs / f"eval_{who}.log", worker_log)
        with serving(model, recipe.serve, recipe.hardware.device, worker_log) as url:
            helm.ask(url, run.output("data"), recipe.eval, entries)
        helm.summarize()
        scores = read_scores(helm.runs)
        write_json(work.folder / SCORES, scores)
        work.note(tier=recipe.eval.tier, scores={name: s["value"] for name, s in scores.items()})
    say(f"eval: {who}: {len(scores)} run specs scored; {run.output(f'eval_{who}') / SCORES}")
    return scores


def helm_venv() -> Path:
    """The venv that holds HELM.

    Raises:
        UserError: it is not there.
    """
    venv = Path(os.environ.get("ONEDAY_HELM_VENV", ".venv-helm")).absolute()
    if not (venv / "bin" / "helm-run").is_file():
        raise UserError(f"HELM is not installed in {venv}; install it with: make helm")
    return venv


def expand(entries: Iterable[str], skills: list[str]) -> list[str]:
    """Run entries as HELM takes them: with the model, and ``oneday`` once a skill."""
    found = []
    for entry in entries:
        name, _, arguments = entry.partition(":")
        each = name == "oneday" and "skill=" not in arguments
        for skill in [f"skill={skill}" for skill in skills] if each else [""]:
            found.append(f"{name}:" + ",".join(filter(None, [skill, arguments, f"model={MODEL}"])))
    return found


def _tier(asked: Eval, venv: Path) -> list[str]:
    """The tier's entries, checked before a model is loaded for them."""
    tiers, tier = asked.tiers, asked.tier
    if tier not in tiers:
        raise UserError(f"eval.tier: no tier {tier!r}; the recipe has {', '.join(tiers)}")
    known = {"oneday", *_run_specs(venv)}
    names = [entry.partition(":")[0] for entry in tiers[tier]]
    faults = [
        f"eval.tiers.{tier}: HELM has no run spec {name!r}{nearest(name, known)}"
        for name in names
        if name not in known
    ]
    if faults:
        raise UserError(faults)
    return tiers[tier]


def _run_specs(venv: Path) -> set[str]:
    """The names HELM registers, read from its source: importing HELM takes seconds and its venv."""
    files = venv.glob("lib/python*/site-packages/helm/benchmark/run_specs/*.py")
    declared = re.compile(r'@run_spec_function\("(\w+)"\)')
    return {name for file in files for name in declared.findall(file.read_text(encoding="utf-8"))}


def _skills(run: Run) -> list[str]:
    with (run.output("data") / "test.jsonl").open(encoding="utf-8") as lines:
        return sorted({json.loads(line)["skill"] for line in lines})


class _Helm:
    """HELM's programs at work in a stage's folder.

    Args:
        venv: where HELM is installed.
        folder: the stage's folder, the programs' working directory.
        log: what they print is added to it.
        worker_log: named when the worker dies.
    """

    def __init__(self, venv: Path, folder: Path, log: Path, worker_log: Path) -> None:
        self._scripts, self._folder = venv / "bin", folder
        self._log, self._worker_log = log, worker_log
        self.runs = folder / OUTPUT / "runs" / SUITE

    def ask(self, url: str, data: Path, asked: Eval, entries: list[str]) -> None:
        """Put all questions to the worker at ``url`` and score the answers."""
        punkt = self._folder.absolute() / "nltk_data"
        _write_punkt(punkt)
        env = {
            "HELM_HTTP_MODEL_BASE_URL": url,
            "ONEDAY_DATA": str(data.absolute()),
            "NLTK_DATA": str(punkt),
            "no_proxy": "127.0.0.1",  # else requests uses a proxy even for this machine
        }
        # HELM never caches a worker's answers: --disable-cache spares us its empty databases.
        options = ["--skip-completed-runs", "--disable-cache", "--plugins", PLUGIN.absolute()]
        options += ["-m", asked.max_instances, "-n", asked.threads, "--run-entries", *entries]
        progress = _Progress(self._log)
        with self._start("helm-run", options, env) as process:
            code = self._follow(process, url, progress)
        self._check(code, progress.text, asked)

    def summarize(self) -> None:
        """Make the tables of HELM's own web pages."""
        with self._start("helm-summarize", [], {}) as process:
            if process.wait():
                raise StageError(
                    f"eval: helm-summarize failed; {self._log}:\n{last_lines(self._log)}"
                )

    def _start(
        self, program: str, options: list[Any], env: dict[str, str]
    ) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        command = [self._scripts / program, "--suite", SUITE, "--output-path", OUTPUT, *options]
        env = environment(HF_HUB_OFFLINE="1", PYTHONUNBUFFERED="1", **env)
        return child([str(word) for word in command], self._log, env, self._folder)

    def _follow(self, process: subprocess.Popen[bytes], url: str, progress: "_Progress") -> int:
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

    def _check(self, code: int, text: str, asked: Eval) -> None:
        """Every run spec must have a score; a failed one leaves a folder without stats.json."""
        if not RUNNING.search(text):
            cause = f"HELM refused the entries ({_last_line(text)})"
            raise UserError(f"eval.tiers.{asked.tier}: {cause}; correct them; log: {self._log}")
        causes = {name: _last_line(trace) for name, trace in FAILED.findall(text)}
        failed = [f.name for f in _run_folders(self.runs) if not (f / "stats.json").is_file()]
        if failed:
            lines = [f"  {_plain(name)}: {causes.get(name, 'see the log')}" for name in failed]
            head = f"eval: {len(failed)} run specs failed, the others are kept; log: {self._log}"
            raise StageError("\n".join([head, *lines]))
        if code:
            raise StageError(
                f"eval: helm-run ended with {code}; {self._log}:\n{last_lines(self._log)}"
            )


def _write_punkt(root: Path) -> None:
    """A sentence splitter for HELM's F1 and ROUGE, which else download NLTK's at metric time.

    Splitting matters little there (answers are a line long), so a few abbreviations of our own do.
    """
    folder = root / "tokenizers" / "punkt_tab" / "english"
    folder.mkdir(parents=True, exist_ok=True)
    abbreviations = "\n".join(["dr", "mr", "mrs", "ms", "e.g", "i.e", "vs", "u.s", "st", ""])
    (folder / "abbrev_types.txt").write_text(abbreviations, encoding="utf-8")
    for name in ("collocations.tab", "sent_starters.txt", "ortho_context.tab"):
        (folder / name).write_text("", encoding="utf-8")


class _Progress:
    """One bar over HELM's run specs, read from the log it is writing."""

    def __init__(self, log: Path) -> None:
        log.touch()
        self._file = log.open(encoding="utf-8", errors="replace")
        self._file.seek(0, os.SEEK_END)  # the log also holds earlier attempts
        self._bar: Any = None  # until HELM has said how many
        self.text = ""

    def update(self) -> None:
        """Read on and redraw: the last run spec named is the one at work."""
        self.text += self._file.read()
        started, total = RUNNING.findall(self.text), TOTAL.search(self.text)
        if total and started:
            self._bar = self._bar or bar(int(total[1]), "eval", " run specs")
            self._bar.set_postfix_str(_plain(started[-1]), refresh=False)
            self._bar.update(len(started) - 1 - self._bar.n)

    def close(self) -> None:
        """Read the rest and draw the end."""
        self.update()
        if self._bar is not None:
            self._bar.set_postfix_str("", refresh=False)
            self._bar.update()
            self._bar.close()
        self._file.close()


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1].strip()


def _run_folders(runs: Path) -> list[Path]:
    return sorted(path for path in runs.glob("*model=*") if path.is_dir())


def _plain(name: str) -> str:
    """A run spec's name without the model, which is always ours."""
    return re.sub(r"[:,]model=[^,]*", "", name)


def read_scores(runs: Path) -> dict[str, Score]:
    """The scores of all run specs below a suite's folder, by name."""
    scores = {}
    for folder in _run_folders(runs):
        score = _score(read_json(folder / "stats.json"))
        if score is None:
            say(f"eval: {_plain(folder.name)} has none of {', '.join(HEADLINES)}: not in the table")
        else:
            scores[_plain(folder.name)] = score
    return scores


def _score(stats: list[dict[str, Any]]) -> Score | None:
    """What HELM's own tables show: unperturbed, of split test, or valid where there is none."""
    plain = [stat for stat in stats if "perturbation" not in stat["name"] and "mean" in stat]
    splits = {stat["name"].get("split") for stat in plain}
    split = "test" if "test" in splits else "valid"
    means = {s["name"]["name"]: s["mean"] for s in plain if s["name"].get("split") == split}
    metric = next((name for name in HEADLINES if name in means), None)
    if metric is None:
        return None
    return {
        "metric": metric,
        "value": means[metric],
        "split": split,
        "instances": round(means["num_instances"]),
        "seconds_per_answer": means.get("inference_runtime"),
        "also": {name: means[name] for name in ALSO if name in means},
    }


def table(run: Run) -> str:
    """Base against tuned, a line a run spec, as plain text.

    Raises:
        UserError: nothing was evaluated yet.
    """
    base, tuned = (read_json(run.output(f"eval_{who}") / SCORES) or {} for who in ("base", "tuned"))
    names = sorted({*base, *tuned})
    if not names:
        raise UserError(f"{run.path}: nothing evaluated yet; evaluate with: make eval")
    rows = [["run spec", "metric", "base", "tuned", "difference", "n", ""]]
    skills = [name for name in names if name.startswith("oneday:")]
    others = [name for name in names if name not in skills]
    for title, group in (("mean, trained skills", skills), ("mean, HELM's scenarios", others)):
        rows += [
            _row(name, {**base, **tuned}[name]["metric"], [name], base, tuned) for name in group
        ]
        rows += [_row(title, "", group, base, tuned)] if group else []
    return "\n".join([*_aligned(rows), "", *_notes(run)])


def _row(
    label: str, metric: str, names: list[str], base: dict[str, Score], tuned: dict[str, Score]
) -> list[str]:
    pairs = [(base[name], tuned[name]) for name in names if name in base and name in tuned]
    before, after = _mean(base, names), _mean(tuned, names)
    change = "-" if before is None or after is None else f"{after - before:+.3f}"
    count = sum({**base, **tuned}[name]["instances"] for name in names)
    verdict = "" if change == "-" else _verdict(pairs)
    return [label, metric, _number(before), _number(after), change, str(count), verdict]


def _mean(scores: dict[str, Score], names: list[str]) -> float | None:
    values = [scores[name]["value"] for name in names if name in scores]
    return statistics.fmean(values) if len(values) == len(names) else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _verdict(pairs: list[tuple[Score, Score]]) -> str:
    """Whether the mean difference exceeds two standard errors.

    Each score is taken as a share of right answers, with one right and one wrong answer added,
    which keeps the error honest at 0 and 1 (Agresti and Caffo, The American Statistician 54, 2000).
    """
    shifts, variances = [], []
    for pair in pairs:
        shares = [(s["value"] * s["instances"] + 1) / (s["instances"] + 2) for s in pair]
        shifts.append(shares[1] - shares[0])
        variances += [p * (1 - p) / (s["instances"] + 2) for p, s in zip(shares, pair, strict=True)]
    shift, noise = statistics.fmean(shifts), 2 * math.sqrt(sum(variances)) / len(pairs)
    return "better" if shift > noise else "worse" if shift < -noise else ""


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = {0, 1, len(widths) - 1}
    return [
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _notes(run: Run) -> list[str]:
    notes = [
        "better, worse: the difference exceeds two standard errors; without a word it is noise."
    ]
    for who in ("base", "tuned"):
        if run.record(f"eval_{who}") and not run.done(f"eval_{who}"):
            notes.append(f"{who}: from before the recipe's last change; renew it with: make eval")
    return notes
