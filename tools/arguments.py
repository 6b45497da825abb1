"""The words of the command line: what each verb takes."""

import argparse
import shlex
from collections.abc import Callable, Mapping

Args = argparse.Namespace
WITH_RUN = ("verify", "reproduce")
WITHOUT_RECIPE = (*WITH_RUN, "score", "lint-submission")
# Verbs that may spend hours: what check fails stops them, unless they are forced.
SPENDING = (
    *("day", "data", "sweep", "train", "soup", "merge", "quantize", "eval", "reproduce", "plan"),
)
WITH_JSON = ("check", "plan", "clock", "reproduce", "score", "lint-submission")


def same(args: Args) -> str:
    """The arguments of this call, as Make takes them."""
    which = f" RECIPE={shlex.quote(args.recipe)}" if args.recipe else f" HW={args.hw}"
    which += f' SET="{" ".join(args.set)}"' if args.set else ""
    which += f" RUNS={shlex.quote(args.runs)}" if args.runs != "runs" else ""
    return which + (" FORCE=1" if getattr(args, "force", False) else "")


def parser(verbs: Mapping[str, str]) -> argparse.ArgumentParser:
    """The parser of all verbs.

    Args:
        verbs: a line of help by name.
    """
    found = argparse.ArgumentParser(
        prog="python -m tools",
        description="One LLM, one GPU, one day: from a recipe to a tuned, served, scored model.",
    )
    subparsers = found.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, line in verbs.items():
        sub = subparsers.add_parser(name, help=line, description=line)
        if name in WITH_RUN:
            sub.add_argument("--run", required=True, metavar="FOLDER", help="a run folder")
        if name not in WITHOUT_RECIPE:
            _recipe(sub)
        if name not in WITHOUT_RECIPE or name == "score":
            sub.add_argument(
                "--runs", default="runs", help="where run folders live (default: runs)"
            )
        if name in WITH_JSON:
            sub.add_argument("--json", action="store_true", help="print JSON, for programs")
        if name in SPENDING:
            sub.add_argument("--force", action="store_true", help="go on where check fails")
        if own := _OWN.get(name):
            own(sub)
    return found


def _recipe(sub: argparse.ArgumentParser) -> None:
    """Which recipe, with which changes."""
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--hw", default="cpu", help="recipes/HW.yaml: 4090, a100 or cpu")
    which.add_argument("--recipe", default="", help="path of a recipe of your own")
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value, e.g. train.learning_rate=1e-4; '~key' removes one",
    )


def _data(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--executor",
        default="",
        metavar="NAME:N",
        help="read in N tasks at once: datatrove:N here, datatrove-slurm:N,partition=P,time=T",
    )


def _serve(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--port", type=int, default=0, help="port, instead of serve.port")


def _eval(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--with", dest="using", default="helm", choices=("helm", "lm-eval"), help="default: helm"
    )
    sub.add_argument("--tasks", default="", help="of lm-eval: names or YAML files, by commas")


def _check(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--strict", action="store_true", help="warnings fail, too: exit code 1")
    tracks = ("4090", "a100", "none")
    sub.add_argument(
        "--track", default="", choices=tracks, help="judge for this track, not the card's own"
    )


def _preview(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--rows", type=int, default=2, metavar="N", help="rows a source (default: 2)")
    sub.add_argument("--source", default="", metavar="NAME", help="show rows of this source only")


def _plan(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--points", default="", metavar="FILE", help="no recipe: predict published runs"
    )
    sub.add_argument("--probe", action="store_true", help="measure three steps on the GPU")


def _export(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--format", default="gguf", help="gguf or onnx (default: gguf)")
    several = (
        "F32, BF16, F16, Q8_0, Q6_K, Q5_K_M, Q4_K_M of a GGUF, several, or all (default: Q8_0)"
    )
    sub.add_argument("--type", default="", metavar="TYPE", help=several)


def _reproduce(sub: argparse.ArgumentParser) -> None:
    again = "fresh folder for the copy (default: FOLDER-again)"
    sub.add_argument("--into", default="", metavar="FOLDER", help=again)


def _score(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="published results, HELM suites, run folders (default: every run that was scored)",
    )
    sub.add_argument("--entry", default="", metavar="NAME", help="whose score to raise")


def _report(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--pool", nargs="*", default=[], metavar="FILE", help="results of others to rank among"
    )
    sub.add_argument(
        "--run", default="", metavar="FOLDER", help="a run folder, in place of a recipe: runs/cpu"
    )
    sub.add_argument(
        "--with",
        dest="beside",
        default="",
        metavar="FOLDER",
        help="another run, side by side: what differs in its recipe, what that gained",
    )


def _submission(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--dist", default="dist", metavar="FOLDER", help="where submissions live")


def _publish(sub: argparse.ArgumentParser) -> None:
    _submission(sub)
    where = "hub id that it will have (default: YOU/NAME)"
    sub.add_argument("--to", default="", metavar="OWNER/NAME", help=where)
    sub.add_argument("--run", default="", metavar="FOLDER", help="a run folder, not a recipe")


def _lint_submission(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("folder", metavar="FOLDER", help="the folder that is handed in")


def _rehearse(sub: argparse.ArgumentParser) -> None:
    _submission(sub)
    sub.add_argument("--folder", default="", help="a submission (default: the recipe's in dist)")
    sub.add_argument("--model", default="", metavar="FOLDER", help="weights to mount, not fetch")
    sub.add_argument("--base", default="", metavar="IMAGE", help="in place of the base image")
    sub.add_argument("--build", default="", metavar="WORDS", help="more words for the build")
    engines = ("", "docker", "podman", "buildah")
    sub.add_argument("--engine", default="", choices=engines, help="default: the first that works")


_OWN: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "data": _data,
    "serve": _serve,
    "eval": _eval,
    "check": _check,
    "preview": _preview,
    "plan": _plan,
    "export": _export,
    "reproduce": _reproduce,
    "score": _score,
    "report": _report,
    "submission": _submission,
    "publish": _publish,
    "lint-submission": _lint_submission,
    "rehearse": _rehearse,
}
