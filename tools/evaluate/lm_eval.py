"""The everyday evaluator: lm-evaluation-harness asks the worker over OpenAI's /v1/completions.

lm-eval is a program of its own here, as it comes: it is started with a configuration file, asks the
prompts' token ids, and leaves its results and every sample in ``eval/lm-eval/base`` and ``tuned``
of the run folder. ``scores.json`` beside them is the extract.
"""

import dataclasses
import fnmatch
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tools.console import bar, environment, say
from tools.errors import StageError, UserError
from tools.evaluate import lm_lengths
from tools.evaluate.helm.programs import no_proxy
from tools.evaluate.lm_scores import read_scores
from tools.evaluate.worker import child, last_lines, listening, serving
from tools.recipe.faults import nearest
from tools.run.folder import Run, read_json, write_json
from tools.score import detectable

FOLDER = Path("eval/lm-eval")
SCORES = "scores.json"
CONFIG = "lm-eval.json"
POLL_SECONDS = 0.5

# lm-eval's bar: the only place where it says how far it is.
ASKED = re.compile(r"Requesting API:[^\r\n]*?(\d+)/(\d+) \[")
NO_DATA = re.compile(r"offline|connection|couldn't reach|cannot find|couldn't find", re.IGNORECASE)


class Own(NamedTuple):
    """A task of the user's own.

    Attributes:
        path: its file.
        kind: ``task`` or ``group``: the key of its name.
    """

    path: Path
    kind: str


def lm_eval(run: Run, tasks: str, models: Mapping[str, Path]) -> dict[str, Any]:
    """Ask each model the tasks, and keep what came out in the run folder.

    Args:
        run: the run folder, whose recipe says how to serve and how many questions to ask.
        tasks: names that lm-eval knows (``*`` matches), YAML files of tasks, or folders of such
            files; separated by commas.
        models: folder of the weights by who it is: ``base``, ``tuned``.

    Returns:
        By who: by task: by metric: ``value``, ``stderr`` (or None), ``higher_is_better``, ``n``.

    Raises:
        UserError: no task, or one that is not known or not there; all of them are named.
        StageError: the worker died, or lm-eval failed.
    """
    asked, most = find_tasks(tasks), run.recipe.eval.max_instances
    lm_lengths.refuse_longer(run.recipe, {name: own and own.path for name, own in asked.items()})
    say(f"lm-eval: of {most} questions a task {detectable.said([most])} ({detectable.ASSUMED})")
    found = {}
    for who, model in models.items():
        inputs = _inputs(run, asked, model)
        before = read_json(run.path / FOLDER / who / SCORES) or {}
        # A task of the user's own is asked anew: what it includes is not among the inputs.
        if before.get("inputs") == json.loads(json.dumps(inputs)) and not any(asked.values()):
            say(f"lm-eval: {who}: up to date ({run.path / FOLDER / who})")
            found[who] = before["scores"]
        else:
            found[who] = _evaluate(run, who, model, asked, inputs)
    return found


def find_tasks(text: str) -> dict[str, Own | None]:
    """The tasks that a text names: by name, where one of the user's own is; None for lm-eval's.

    Raises:
        UserError: there are none, or some are not known, not there or no tasks.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    # A path may hold spaces; between names they part.
    words = [word for part in parts for word in ([part] if _is_path(part) else part.split())]
    if not words:
        raise UserError(
            "TASKS: names no task; give some that lm-eval knows, or YAML files: "
            "TASKS=arc_easy,my/task.yaml (.venv/bin/lm-eval ls tasks lists them)"
        )
    names = [word for word in words if not _is_path(word)]
    faults = [*_unknown(names)]
    found: dict[str, Own | None] = dict.fromkeys(names)
    for path in _files([word for word in words if _is_path(word)]):
        try:
            name, own = read_task(path)
            found[name] = own
        except UserError as error:
            faults += error.faults
    if faults:
        raise UserError(faults)
    return found


def _is_path(text: str) -> bool:
    return text.endswith((".yaml", ".yml")) or Path(text).is_dir()


def _files(words: list[str]) -> Iterator[Path]:
    for path in map(Path, words):
        yield from sorted(path.glob("*.yaml")) if path.is_dir() else [path]


def read_task(path: Path) -> tuple[str, Own]:
    """The name in a task's file, and what the file is.

    Raises:
        UserError: there is no such file, or it is no task.
    """
    from lm_eval.utils import load_yaml_config

    if not path.is_file():
        raise UserError(f"TASKS: no file {path}; give a path relative to where you call make")
    try:
        content = load_yaml_config(str(path), mode="simple")  # runs no !function of the task
        kind = next(kind for kind in ("group", "task") if isinstance(content.get(kind), str))
    except Exception as error:  # of the YAML reader, of an include; no dict; neither key
        cause = f" ({str(error).splitlines()[0]})" if str(error) else ""
        raise UserError(
            f"TASKS: {path} is no task{cause}; lm-eval's tasks say task: NAME or group: NAME"
        ) from None
    return str(content[kind]), Own(path, kind)


def _unknown(names: list[str]) -> Iterator[str]:
    known = known_tasks() if names else []
    for name in names:
        if not fnmatch.filter(known, name):
            yield (
                f"TASKS: lm-eval {_version()} has no task {name!r}{nearest(name, known)}; "
                "list them with: .venv/bin/lm-eval ls tasks"
            )


def known_tasks() -> list[str]:
    """Names of the tasks, groups and tags that the installed lm-eval has."""
    say("lm-eval: reading the list of its tasks")  # before the import, which itself takes seconds
    return list(lm_lengths.index())


def _version() -> str:
    return importlib.metadata.version("lm_eval")


def _inputs(run: Run, tasks: Iterable[str], model: Path) -> dict[str, Any]:
    """What the scores depend on, as far as it can be told without reading weights or data."""
    files = sorted(path for path in model.glob("*") if path.is_file())
    return {
        "tasks": list(tasks),
        "limit": run.recipe.eval.max_instances,
        # Absent where each task says: what was asked before there was the key is up to date.
        **_bound(run),
        "serve": dataclasses.asdict(run.recipe.serve),
        "model": {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files},
        "lm_eval": _version(),
    }


def _evaluate(
    run: Run, who: str, model: Path, tasks: Mapping[str, Own | None], inputs: dict[str, Any]
) -> dict[str, Any]:
    """One model's scores; its folder appears whole, or stays what it was."""
    final = run.path / FOLDER / who
    partial = final.with_name(f".{who}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    log, worker_log = run.logs / f"lm_eval_{who}.log", run.logs / f"worker_lm_eval_{who}.log"
    recipe = run.recipe
    with serving(model, recipe.serve, recipe.hardware.device, worker_log) as url:
        settings = configuration(run, url, model, list(tasks), partial)
        settings["include_path"] = _included(run, tasks)
        write_json(partial / CONFIG, settings)
        _Harness(log, worker_log).ask(partial / CONFIG, url)
    scores = read_scores(partial)
    write_json(partial / SCORES, {"inputs": inputs, "scores": scores})
    _swap(partial, final)
    say(f"lm-eval: {who}: {len(scores)} tasks scored; {final / SCORES}")
    return scores


def _included(run: Run, tasks: Mapping[str, Own | None]) -> str | None:
    """Folder in which lm-eval finds the user's own tasks by their names.

    Its command line takes files, too, but then fails (0.4.11: they are not in the index that it
    prints from). The user's folder itself would be searched through, whatever else is in it.
    """
    folder = run.path / FOLDER / "tasks"
    shutil.rmtree(folder, ignore_errors=True)
    own = {name: task for name, task in tasks.items() if task}
    for place, (name, task) in enumerate(own.items()):
        folder.mkdir(parents=True, exist_ok=True)
        content = {"include": str(task.path.absolute()), task.kind: name}
        write_json(folder / f"{place}.yaml", content)
    return str(folder) if own else None


def _swap(partial: Path, final: Path) -> None:
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    partial.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def configuration(
    run: Run, url: str, model: Path, tasks: list[str], output: Path
) -> dict[str, Any]:
    """What lm-eval is told: ``lm-eval run --config FILE`` with it asks the same again.

    Args:
        run: the run folder.
        url: of the worker, which must be ready.
        model: folder of the tokenizer.
        tasks: their names.
        output: folder for its results.
    """
    return {
        "model": "local-completions",
        "model_args": {
            "model": model.resolve().name,
            "base_url": f"{url}/v1/completions",
            "tokenizer": str(model.absolute()),
            "tokenizer_backend": "huggingface",
            "tokenized_requests": True,
            "add_bos_token": adds_bos(model),
            "max_length": _context(url),
            "num_concurrent": run.recipe.eval.threads,
            # Later than the worker's own: it gives up first, and says why.
            "timeout": int(run.recipe.serve.deadline_s) + 60,
        },
        "tasks": tasks,
        "limit": run.recipe.eval.max_instances,
        **_bound(run),
        # Answers of code tasks are run here. The switch is that of the metric behind them.
        "confirm_run_unsafe_code": os.environ.get("HF_ALLOW_CODE_EVAL") == "1",
        "log_samples": True,
        "output_path": str(output),
    }


def _bound(run: Run) -> dict[str, Any]:
    most = run.recipe.eval.max_new_tokens
    return {"gen_kwargs": {"max_gen_toks": most}} if most else {}


def adds_bos(model: Path) -> bool:
    """Whether prompts start with a BOS of the tokenizer's own, as in training and on /process.

    Also holds lm-eval's tokenizer, which is transformers', against the worker's, and says so when
    they differ: other ids than those of the training would be scored.
    """
    from transformers import AutoTokenizer

    from serve.text import TextCodec

    codec, prompt = TextCodec.load(model), "Question: What is 2 + 2?\nAnswer:"
    made = codec.encode_prompt(prompt)
    bos = made.lead > 0
    theirs = AutoTokenizer.from_pretrained(model)(prompt, add_special_tokens=bos).input_ids
    if theirs != list(made.ids):
        say(
            f"lm-eval: transformers reads {model} otherwise than the worker (ids "
            f"{theirs[:8]} and {list(made.ids[:8])}): its scores are of other ids than were trained"
        )
    return bos


def _context(url: str) -> int:
    """Most tokens that the worker takes."""
    # No proxy: one set for the network must not get requests for this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/health", timeout=60) as reply:
        return int(json.load(reply)["model"]["context"])


class _Harness:
    """lm-eval at work.

    Args:
        log: what it prints is added to it.
        worker_log: named when the worker dies.
    """

    def __init__(self, log: Path, worker_log: Path) -> None:
        self._log, self._worker_log = log, worker_log
        log.touch()
        self._start = log.stat().st_size  # the log also holds earlier attempts

    def ask(self, config: Path, url: str) -> None:
        """Run it to its end."""
        words = [sys.executable, "-m", "lm_eval", "run", "--config", str(config)]
        # Unbuffered: its bar is read from the log while it works.
        env = environment(no_proxy=no_proxy(), PYTHONUNBUFFERED="1")
        with child(words, self._log, env) as process:
            code = self._follow(process, url)
        if code:
            raise StageError(f"lm-eval: failed ({self._cause()}); log: {self._log}")

    def _follow(self, process: subprocess.Popen[bytes], url: str) -> int:
        """Wait for it, not beyond the worker's end: it would ask each question three times."""
        with bar(0, "lm-eval", " requests") as progress:
            while process.poll() is None:
                if not listening(url):
                    log = self._worker_log
                    raise StageError(f"lm-eval: the worker died; {log}:\n{last_lines(log)}")
                self._draw(progress)
                time.sleep(POLL_SECONDS)
            self._draw(progress)
        return process.returncode

    def _draw(self, progress: Any) -> None:
        if asked := ASKED.findall(self._text()):
            done, total = map(int, asked[-1])
            if total != progress.total or done < progress.n:  # the next kind of request
                progress.reset(total)
            progress.update(done - progress.n)

    def _text(self) -> str:
        with self._log.open("rb") as file:
            file.seek(self._start)
            return file.read().decode("utf-8", errors="replace")

    def _cause(self) -> str:
        """Its last words, and what may help."""
        lines = [line.strip() for line in self._text().splitlines() if line.strip()]
        cause = lines[-1] if lines else "no output"
        if not NO_DATA.search(cause):
            return cause
        off = " and HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE") else ""
        return f"{cause}: the task's data is not on this machine{off}"
