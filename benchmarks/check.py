"""``python -m benchmarks.check`` (``make bench-check``): time of our verdicts and of Axolotl's own.

Wall seconds of ``make check`` and ``make plan`` for a recipe, and of ``axolotl preprocess`` for the
file rendered from that very recipe, from its start to its verdict on the configuration (it then
logs the configuration, or ends with an error). Each is a process of its own; medians of repeats.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from tools.axolotl.child import render
from tools.base_model.architecture import architecture
from tools.console import environment, say
from tools.recipe.load import load
from tools.recipe.schema import Recipe
from tools.run.folder import Run, write_json

ROOT = Path(__file__).resolve().parents[1]
#: Axolotl logs the whole configuration once it has accepted it.
ACCEPTED = "config:"
THEIRS = "axolotl preprocess"


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "cpu.yaml")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args(words)


def ours(verb: str, recipe: Path) -> float:
    """Seconds of ``make VERB RECIPE=…``."""
    command = ["make", "--silent", verb, f"RECIPE={recipe}"]
    begun = time.monotonic()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    return time.monotonic() - begun


def imports_torch(verb: str, recipe: Path) -> bool:
    """Whether the verb imports torch."""
    code = (
        "import sys; from tools.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, verb, "--recipe", str(recipe)]
    return bool(subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode)


def theirs(config: Path) -> tuple[float, str]:
    """Seconds until Axolotl's verdict on a file, and the verdict."""
    command = [sys.executable, "-m", "axolotl.cli.main", "preprocess", str(config)]
    begun = time.monotonic()
    child = subprocess.Popen(
        command,
        cwd=config.parent,
        env=environment(HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES=""),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout is not None
    try:
        accepted = any(ACCEPTED in line for line in child.stdout)
        return time.monotonic() - begun, "accepted" if accepted else "refused"
    finally:
        child.kill()
        child.wait()


def rendered(recipe: Recipe, folder: Path) -> Path:
    """The recipe's Axolotl file, with a model folder that has the numbers and no weights."""
    arch, model = architecture(recipe.model), folder / "model"
    model.mkdir()
    numbers = {
        **{"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
        **{"hidden_size": arch.hidden, "intermediate_size": arch.mlp, "vocab_size": arch.vocab},
        **{"num_hidden_layers": arch.layers, "num_attention_heads": arch.heads},
        **{"num_key_value_heads": arch.kv_heads, "tie_word_embeddings": arch.tied},
    }
    write_json(model / "config.json", numbers)
    run = Run(recipe, folder)
    run.path.mkdir()
    return render(run, model)


def table(seconds: dict[str, list[float]]) -> str:
    """Medians and how many times as long Axolotl takes."""
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    lines = [
        [name, f"{value:.2f}", f"{middle[THEIRS] / value:.1f}" if name != THEIRS else ""]
        for name, value in middle.items()
    ]
    head = ["", "wall, s", "times as quick"]
    return tabulate(lines, head, tablefmt="github", disable_numparse=True)


def main(words: Sequence[str] | None = None) -> int:
    """Measures and prints; 1 when a verb of ours imports torch."""
    args = parse_arguments(sys.argv[1:] if words is None else words)
    recipe = args.recipe.resolve()
    seconds = {
        f"make {verb}": [ours(verb, recipe) for _ in range(args.repeats)]
        for verb in ("check", "plan")
    }
    with tempfile.TemporaryDirectory() as folder:
        config = rendered(load(recipe).recipe, Path(folder))
        verdicts = [theirs(config) for _ in range(args.repeats)]
    seconds[THEIRS] = [taken for taken, _ in verdicts]
    heavy = [verb for verb in ("check", "plan") if imports_torch(verb, recipe)]
    say(table(seconds))
    say(f"{args.recipe.name}: Axolotl {verdicts[0][1]} the file rendered from it")
    say(f"torch imported by: {', '.join(heavy) or 'none of ours'}; {os.cpu_count()} cores")
    if args.json:
        args.json.write_text(json.dumps(seconds, indent=1), encoding="utf-8")
    return 1 if heavy else 0


if __name__ == "__main__":
    sys.exit(main())
