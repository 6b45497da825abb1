"""Axolotl as a child process: the file it reads, its log, its progress."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tools.axolotl.failure import reason
from tools.axolotl.telling import MARK
from tools.console import environment
from tools.data import tokens
from tools.errors import StageError
from tools.files import write_text
from tools.process import RETURNING, dies_with_parent
from tools.run.folder import Run

# Our formats that Axolotl makes, through torchao: its own keys for each.
QUANTIZATION: dict[str, dict[str, Any]] = {
    "int8_int4": {"quantization": {"weight_dtype": "int4", "activation_dtype": "int8"}},
}
# What has Axolotl 0.21.0 train on rows in the order of their file, packed ones, too: by itself it
# shuffles the file, draws rows at random and fills packs with whatever row fits.
IN_ORDER = {
    "shuffle_merged_datasets": False,
    "curriculum_sampling": True,
    "sample_packing_sequentially": True,
}
Event = dict[str, Any]
NEWEST = 1000  # lines of a child that the reason of its failure is looked for in
_HEADER = (
    "# Written by oneday from the recipe; bare Axolotl runs it from the same folder:\n"
    "#   axolotl train {path}\n"
)


class Overdue(StageError):
    """Axolotl did not end in the time it was given, and was ended."""


def render(run: Run, base_model: Path, name: str = "axolotl.yaml", **values: Any) -> Path:
    """Write Axolotl's file into the run: the recipe's ``train`` section, model, data and folders.

    Args:
        run: whose folder gets the file.
        base_model: folder of the weights to start from.
        name: of the file.
        values: keys of Axolotl over those.
    """
    recipe, rows = run.recipe, tokens.paths(run)
    config = {
        "base_model": str(base_model),
        # Token ids already: without a type Axolotl takes the rows as they are.
        "datasets": [{"path": str(rows["train"]), "ds_type": "json"}],
        "test_datasets": [{"path": str(rows["validation"]), "ds_type": "json", "split": "train"}],
        # Else Axolotl drops what fills no batch beside packs: held-out rows, too, or all of them.
        "dataloader_drop_last": False,
        # Axolotl's own cache key is the paths of the files, not what is in them.
        "dataset_prepared_path": str(rows["train"].with_name("prepared")),
        "output_dir": str(run.output("train")),
        "special_tokens": {"eos_token": recipe.model.eos, "pad_token": recipe.model.pad},
        "seed": recipe.data.seed,
        "use_tensorboard": True,  # files in the logs folder, sent nowhere
        # For bare Axolotl; its memory-efficient merge is the one that goes through NF4.
        "merge_method": {"nf4_aware": "memory_efficient", "plain": "legacy"}[recipe.merge.method],
        **QUANTIZATION.get(recipe.quantize.format, {}),
        **({} if recipe.data.order == "shuffled" else IN_ORDER),
        **recipe.train,  # behind ours: the recipe's own keys win
        **values,
    }
    path = run.path / name
    write_text(path, _HEADER.format(path=path) + as_yaml(config))
    return path


def as_yaml(config: dict[str, Any]) -> str:
    """A configuration as Axolotl reads it: by PyYAML, to which ``${`` is text like any other."""
    import yaml

    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def call(
    run: Run,
    command: str,
    config: Path,
    overrides: dict[str, Any],
    watch: Callable[[Event], None] = lambda event: None,
    variables: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> None:
    """Run an Axolotl command to its end; its output goes to the run's logs.

    Args:
        run: whose log folder is written.
        command: ``train`` or ``quantize``.
        config: the YAML file.
        overrides: values over the file's.
        watch: called with every event that our plugin tells.
        variables: more of the environment.
        seconds: time to end in; None for any.

    Raises:
        Overdue: it took longer.
        StageError: Axolotl failed; the message holds the last lines of its log.
        KeyboardInterrupt: after the child has ended, too.
    """
    log = run.logs / f"{command}.log"
    cards = run.recipe.hardware.gpus if command == "train" else 1
    words = _words(cards, command, config, overrides)
    # torchrun must live to end its jobs, see _stop; one job has nothing to put in order.
    end = signal.SIGTERM if cards > 1 else signal.SIGKILL
    told: deque[str] = deque(maxlen=NEWEST)
    # transformers reads it.
    here = {"TENSORBOARD_LOGGING_DIR": str(run.logs / "tensorboard"), **_on_cpu(run, cards)}
    # Unbuffered: the log is whole however we or the child may end.
    with log.open("ab", buffering=0) as sink:
        child = _start(words, end, {**here, **(variables or {})})
        overdue = threading.Event()
        wait = threading.TIMEOUT_MAX if seconds is None else seconds
        limit = threading.Timer(wait, _overrun, (child, end, overdue))
        limit.daemon = True  # our own exit does not wait for it
        limit.start()
        try:
            for event in _events(child, sink, told):
                watch(event)
            code = child.wait()
        finally:
            limit.cancel()
            _stop(child, end)
    if overdue.is_set():  # first: the code of a child that we ended says nothing
        raise Overdue(
            f"axolotl {command} did not end in {seconds:.0f} s and was stopped\n  log: {log}"
        )
    if code:
        raise StageError(f"axolotl {command} ended with code {code}: {reason(told)}\n  log: {log}")


def _on_cpu(run: Run, cards: int) -> dict[str, str]:
    """What a training on a CPU is told: how to hold memory.

    And several jobs: no card that may be there, and a share of the cores.
    """
    if run.recipe.hardware.device != "cpu":
        return {}
    own = {name: value for name, value in RETURNING.items() if name not in os.environ}
    if cards == 1:
        return own
    threads = max(1, len(os.sched_getaffinity(0)) // cards)
    return {**own, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(threads)}


def _start(
    words: list[str], end: signal.Signals, variables: Mapping[str, str]
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment(
            PYTHONPATH=_import_path(),
            PYTHONHASHSEED="0",  # PEFT writes a set, target_modules, into adapter_config.json
            **variables,
        ),
        start_new_session=True,
        preexec_fn=dies_with_parent(end),
    )


def _words(cards: int, command: str, config: Path, overrides: dict[str, Any]) -> list[str]:
    """The child's command line; for several cards it is torchrun that starts a job on each."""
    launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={cards}", "-m"]
    return [
        sys.executable,
        "-m",
        *(launcher if cards > 1 else []),
        "tools.axolotl.job",
        command,
        str(config),
        json.dumps(overrides),
    ]


def _import_path() -> str:
    """Where the child finds ``tools``, whatever folder the user calls from."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


def _events(child: subprocess.Popen[str], sink: IO[bytes], told: deque[str]) -> Iterator[Event]:
    """The events among the child's lines; the others go to the log, the newest to ``told``, too."""
    assert child.stdout is not None
    for line in child.stdout:
        if MARK in line:  # not at its start: a progress bar ends without a newline
            yield json.loads(line[line.index(MARK) + len(MARK) :])
            continue
        told.append(line)
        with suppress(OSError):  # a full disk must not hide what the child has to say of it
            sink.write(line.encode())


def _overrun(child: subprocess.Popen[str], end: signal.Signals, overdue: threading.Event) -> None:
    """Called by a timer: end a child that hangs, in a kernel perhaps."""
    if child.poll() is None:
        overdue.set()
        with suppress(ProcessLookupError):  # it has ended since it was looked at
            os.killpg(child.pid, end)


def _stop(child: subprocess.Popen[str], end: signal.Signals) -> None:
    """End a child that still runs.

    Its own session keeps Ctrl+C from Axolotl's handler, which would save a half-trained adapter and
    exit with 0; checkpoints are what a restart goes on from. torchrun puts each job into a session
    of its own, out of our reach: a polite signal lets it end them, within 30 seconds.
    """
    if child.poll() is None:
        os.killpg(child.pid, end)
        child.wait()
