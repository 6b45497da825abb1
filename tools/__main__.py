"""``python -m tools VERB``: the only thing the Makefile calls."""

import argparse
import contextlib
import gc
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.arguments import parser
from tools.console import say
from tools.errors import StageError, UserError

if TYPE_CHECKING:
    from tools.clock import Allowance
    from tools.recipe import Loaded
    from tools.run import Run

Args = argparse.Namespace


def data(args: Args) -> None:
    """Make the training, validation and test rows"""
    _stages(args, "data")


def train(args: Args) -> None:
    """Train the adapter with Axolotl (goes on from the last whole checkpoint)"""
    _stages(args, "train")


def merge(args: Args) -> None:
    """Add the adapter to the base model"""
    _stages(args, "merge")


def quantize(args: Args) -> None:
    """Put the merged model into the served format"""
    _stages(args, "quantize")


def evaluate(args: Args) -> None:
    """Serve base and tuned model, score both with HELM (or lm-eval), print the table"""
    if args.using == "lm-eval":
        return _lm_eval(args)
    _stages(args, "eval_tuned")
    run = _run(args)
    _table(run)
    _refuse_failed(run, args)


def day(args: Args) -> None:
    """The whole chain, from the rows to the report"""
    started = time.monotonic()
    loaded = _load(args)
    _refuse_ineligible(loaded)
    made = _stages(args, "eval_tuned")
    run = _run(args)
    _table(run)
    if not made:
        say(f"day: everything in {run.path} is up to date, nothing was run")
    _times(run, made, time.monotonic() - started)
    if made or not (run.path / "report.html").is_file():
        report(args)
    say(f"next: make serve{_same(args)}")
    _refuse_failed(run, args)


def serve(args: Args) -> None:
    """Serve the tuned model behind /process, /tokenize, /decode, /health"""
    from tools.worker import command

    run = _run(args)
    stage = _served(run)
    if not run.done(stage):
        raise UserError(f"{run.output(stage)}: not made yet; first: make {stage}{_same(args)}")
    port = {"port": args.port} if args.port else {}
    config = type(run.recipe.serve)(**{**run.recipe.serve.__dict__, **port})
    words = command(run.output(stage), config, run.recipe.hardware.device, run.path / "serve.json")
    from tools.console import environment

    os.execvpe(words[0], words, environment())


def show(args: Args) -> None:
    """Print the resolved recipe, each value with the file it came from"""
    from tools.show import show as render

    say(render(_load(args)))


def check(args: Args) -> None:
    """Is the recipe valid, does it suit its card, is it eligible?"""
    from tools.check import as_json, exit_code, render
    from tools.check import check as find

    findings = find(_load(args), args.track or None)
    say(json.dumps(as_json(findings), indent=1) if args.json else render(findings))
    if code := exit_code(findings, args.strict):
        sys.exit(code)


def plan(args: Args) -> None:
    """Predict memory, speed, hours and disk: does it fit the card and the day?"""
    if args.points:
        return _points(args)
    from tools import plan as planner
    from tools import remedy

    runs = Path(args.runs)
    found = planner.plan(_load(args).recipe, runs)
    if args.json:
        offers = remedy.as_json(remedy.changes(found, runs))
        say(json.dumps({**planner.as_json(found), "changes": offers}, indent=1))
    else:
        say("\n\n".join(filter(None, [planner.render(found), remedy.render(found, runs)])))
    if args.probe:
        from tools import probe

        say("\n" + probe.render(found, probe.probe(found, runs)))
    if code := planner.exit_code(found):
        sys.exit(code)


def clock(args: Args) -> None:
    """What is used and left of the day, and what is going on?"""
    from tools.budget import as_json, render

    run = _run(args)
    say(json.dumps(as_json(run), indent=1) if args.json else render(run))


def verify(args: Args) -> None:
    """Is every file of a run folder what its manifest says?"""
    from tools.verify import verify as find

    if faults := find(_folder(args)):
        raise StageError("\n".join(faults))
    say(f"verify: {args.run}: every hash holds")


def reproduce(args: Args) -> None:
    """Rebuild a run from its manifest alone in a fresh folder, and compare"""
    from tools.reproduce import reproduce as rebuild

    folder = _folder(args)
    into = Path(args.into) if args.into else folder.with_name(f"{folder.name}-again")
    with contextlib.redirect_stdout(sys.stderr):  # what the stages say; stdout is the comparison's
        found = rebuild(folder, into, _make)
    say(json.dumps(found.as_json(), indent=1) if args.json else found.render())
    if code := found.exit_code:
        sys.exit(code)


def score(args: Args) -> None:
    """The organizers' score of published results, HELM suites and runs, and what would raise it"""
    from tools import score as scorer

    entries = scorer.collect([Path(path) for path in args.files], Path(args.runs))
    ranking = scorer.score(entries)
    if args.json:
        say(json.dumps(scorer.as_json(ranking, args.entry), indent=1))
    else:
        say(scorer.render(ranking, args.entry))


def report(args: Args) -> None:
    """Write report.html: all of a run on one page, and report.json beside it"""
    from tools.report import report as write

    pool = [Path(path) for path in getattr(args, "pool", ())]
    say(f"report: {write(_run(args), pool, _same(args))}")


def submission(args: Args) -> None:
    """Pack a finished run into one folder and zip that strangers can build and run"""
    from tools.package import package

    _refuse_ineligible(_load(args))
    say(package(_run(args), Path(args.dist)).render())


def lint_submission(args: Args) -> None:
    """Would this folder build, start and be scored by the organizers?"""
    from tools import lint

    if not args.folder:
        raise UserError("PATH: none given; name the folder to be handed in, as PATH=dist/mine")
    findings = lint.lint(Path(args.folder))
    say(json.dumps(lint.as_json(findings), indent=1) if args.json else lint.render(findings))
    if code := lint.exit_code(findings):
        sys.exit(code)


def rehearse(args: Args) -> None:
    """Do what the organizers do with a submission, more strictly: build, start, ask, stop"""
    from tools.rehearse import Options
    from tools.rehearse import rehearse as play

    folder = Path(args.folder) if args.folder else _packed(args)
    options = Options(
        engine=args.engine,
        base=args.base,
        build=tuple(shlex.split(args.build)),
        model=Path(args.model) if args.model else None,
    )
    text, passed = play(folder, options)
    say(text)
    if not passed:
        sys.exit(1)


VERBS: dict[str, Callable[[Args], None]] = {
    "day": day,
    "data": data,
    "train": train,
    "merge": merge,
    "quantize": quantize,
    "serve": serve,
    "eval": evaluate,
    "show": show,
    "check": check,
    "plan": plan,
    "clock": clock,
    "verify": verify,
    "reproduce": reproduce,
    "score": score,
    "report": report,
    "submission": submission,
    "lint-submission": lint_submission,
    "rehearse": rehearse,
}
CARDS = Path("recipes/hardware")
CHAIN = ("data", "train", "merge", "quantize", "eval_base", "eval_tuned")


def _stages(args: Args, last: str) -> list[str]:
    """Run what is missing of the chain up to ``last``; the names of the stages that were run."""
    from tools.run import Run, write_text
    from tools.show import show as render

    loaded = _load(args)
    run = Run(loaded.recipe, Path(args.runs))
    made = []
    with _alone(run):
        write_text(run.path / "recipe.yaml", render(loaded))
        for name in CHAIN[: CHAIN.index(last) + 1]:
            if name == "quantize" and run.recipe.quantize.format == "none":
                continue
            if run.done(name):
                say(f"{name}: up to date ({run.output(name)})")
                continue
            _make(run, name)
            made.append(name)
            say(f"{name}: made {run.output(name)} in {_seconds(run, name):.0f} s")
    if last != "eval_tuned":
        say(f"next: make {_after(last)}{_same(args)}")
    return made


def _after(stage: str) -> str:
    following = CHAIN[CHAIN.index(stage) + 1]
    return "eval" if following.startswith("eval") else following


@contextlib.contextmanager
def _alone(run: "Run") -> Iterator[None]:
    """Hold the run folder; who is refused learns what the other process is at."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(run.lock())
        except UserError as error:
            from tools.budget import at_work

            other = at_work(run)
            doing = f" ({other.stage}, since {other.since})" if other else ""
            raise UserError(f"{error}{doing}") from None
        yield


def _make(run: "Run", name: str) -> Any:
    """Make one stage; what it needs is imported here, so that quick verbs stay quick."""
    if name == "data":
        from tools.data import prepare

        return prepare(run)
    if not name.startswith("eval"):
        with _offline(run):
            return _on_the_clock(run, name)
    from tools.evaluate import evaluate
    from tools.model import local_folder

    if name == "eval_base":
        return evaluate(run.recipe, run, "base", local_folder(run.recipe.model))
    return evaluate(run.recipe, run, "tuned", run.output(_served(run)))


@contextlib.contextmanager
def _offline(run: "Run") -> Iterator[None]:
    """Where nothing is to be fetched nothing shall ask: bitsandbytes looks for kernels on the hub.

    For one stage: HELM, which comes later, may have to load a scenario's data from there.
    """
    chosen = "HF_HUB_OFFLINE" in os.environ or run.recipe.model.source == "hub"
    if not chosen:
        os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        if not chosen:
            os.environ.pop("HF_HUB_OFFLINE", None)


def _on_the_clock(run: "Run", name: str) -> Any:
    """Make a stage whose time is the day's; merge and quantize may take what there is no more."""
    from tools import budget
    from tools.model import local_folder
    from tools.provenance import model_files

    base = local_folder(run.recipe.model)
    model_files(run.recipe.model)  # remembered: a download and its hashing are not the GPU's time
    day = budget.day(run)
    if name == "train":
        from tools.preflight import preflight

        preflight(run, base, day)
    with budget.clock(run).spend(name, run.fingerprint(name), day.limit(name)) as allowance:
        made = _call(run, name, allowance)
    if (left := budget.day(run).left) < 0:
        say(
            f"{name}: the day's {budget.duration(day.total)} are passed by {budget.duration(-left)}"
        )
    return made


def _call(run: "Run", name: str, allowance: "Allowance") -> Any:
    """The verb's module."""
    if name == "train":
        from tools.train import train

        return train(run, allowance)
    if name == "merge":
        from tools.merge import merge

        return merge(run)
    from tools.quantize import quantize

    return quantize(run)


def _served(run: "Run") -> str:
    """The stage whose folder is served."""
    plain = run.recipe.serve.weights == "merged" or run.recipe.quantize.format == "none"
    return "merge" if plain else "quantize"


def _load(args: Args) -> "Loaded":
    from tools.faults import nearest
    from tools.recipe import load

    if not args.recipe:
        cards = sorted(path.stem for path in CARDS.glob("*.yaml"))
        if args.hw not in cards:
            raise UserError(
                f"HW={args.hw}: no such card{nearest(args.hw, cards)}; HW is one of "
                f"{', '.join(cards)}, or give a recipe of your own as RECIPE=my.yaml"
            )
    return load(Path(args.recipe or f"recipes/{args.hw}.yaml"), args.set)


def _run(args: Args) -> "Run":
    from tools.run import Run

    return Run(_load(args).recipe, Path(args.runs))


def _folder(args: Args) -> Path:
    if not args.run or not Path(args.run).is_dir():
        raise UserError(f"RUN={args.run}: no such folder; give a run folder, as RUN=runs/cpu")
    return Path(args.run)


def _refuse_ineligible(loaded: "Loaded") -> None:
    from tools.check import check as find

    found = find(loaded)
    for finding in found:
        if finding.verdict == "warn":
            say(f"check: {finding.message}")
    failed = [f"{f.message}; {f.remedy}" for f in found if f.verdict == "fail"]
    if failed:
        raise UserError(failed)


def _table(run: "Run") -> None:
    """The scores, and whether the questions asked are in the training rows."""
    from tools import contamination
    from tools.evaluate import table

    say(table(run))
    say("\n" + contamination.render(contamination.contamination(run)))


def _refuse_failed(run: "Run", args: Args) -> None:
    """The end of an evaluation in which run specs failed: all else was done and shown before."""
    from tools.evaluate import WHO, failed

    if names := {name for who in WHO for name in failed(run, who)}:
        raise StageError(
            f"eval: {len(names)} run specs failed, each is named below the table with its cause; "
            f"this asks for them again, and only them: make eval{_same(args)}"
        )


def _lm_eval(args: Args) -> None:
    """Ask base and tuned model lm-eval's tasks, print the table."""
    from tools.lm_eval import lm_eval
    from tools.lm_scores import table
    from tools.model import local_folder

    if not args.tasks:
        raise UserError("TASKS: none given; name lm-eval's tasks, such as TASKS=arc_easy,my.yaml")
    run = _run(args)
    stage = _served(run)
    if not run.done(stage):
        raise UserError(f"{run.output(stage)}: not made yet; first: make {stage}{_same(args)}")
    models = {"base": local_folder(run.recipe.model), "tuned": run.output(stage)}
    with _alone(run):
        say(table(lm_eval(run, args.tasks, models)))


def _packed(args: Args) -> Path:
    """The folder that ``make submission`` writes for a recipe."""
    from tools.package.names import slug

    return Path(args.dist) / f"submission-{slug(_load(args).recipe.name)}"


def _times(run: "Run", made: list[str], total: float) -> None:
    parts = [f"{name} {_seconds(run, name):.0f} s" for name in made]
    if parts:
        say(f"day: {total:.0f} s in all: " + ", ".join(parts))


def _seconds(run: "Run", name: str) -> float:
    record = run.record(name)
    return record["seconds"] if record else 0.0


def _points(args: Args) -> None:
    """The memory formula beside published runs."""
    from tools.points import as_json, compare, render

    rows = compare(Path(args.points))
    say(json.dumps(as_json(rows), indent=1) if args.json else render(rows))


def _same(args: Args) -> str:
    """The arguments of this call, as Make takes them."""
    which = f" RECIPE={shlex.quote(args.recipe)}" if args.recipe else f" HW={args.hw}"
    which += f' SET="{" ".join(args.set)}"' if args.set else ""
    return which + (f" RUNS={args.runs}" if args.runs != "runs" else "")


def _parser() -> argparse.ArgumentParser:
    return parser(VERBS)


def main() -> int:
    """Run one verb; the process's exit code."""
    args = _parser().parse_args()
    # A polite kill ends like Ctrl+C, so that no child outlives us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        VERBS[args.verb](args)
    except UserError as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        return 2
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\ninterrupted; what is done is kept, the same command goes on from here",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        sys.stderr.close()
        return 0
    except OSError as error:
        print(f"error: {error}; free the disk or mend the folder's rights", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    gc.freeze()  # or the exit looks through all that torch made: a second, which no ledger knows
    sys.exit(code)
