# ruff: noqa: E501 (the lines are the README's)
"""The submission's README: what organizers call, what they see, and what to do without Docker."""

import textwrap
from pathlib import PurePosixPath
from typing import Any

from tools.package.image import CPU_TORCH
from tools.package.names import make_words, slug, tag
from tools.recipe.schema import Recipe
from tools.run.folder import STAGES, served

HEAD = """\
# {title}

{what}

The folder holds text only. The weights are named in `weights.json`, each file with its SHA-256{where}.
No account, token, environment variable or build argument is needed.

"""

BUILD = """\
## Build and run

Docker 23 or newer{driver}.

```bash
docker build -t {tag} .
docker run -d{gpus} -p 8080:80 --name {tag} {tag}
```
"""

BUILD_REBUILT = """\
## Build and run

Nobody has uploaded these weights: the first image makes them anew from this folder, the second serves
them. Docker 23 or newer{driver}.

```bash
docker build --target train -t {tag}_train .
docker run{gpus} -v {tag}_runs:/app/runs {tag}_train
docker build -t {tag} .
docker run -d{gpus} -p 8080:80 -v {tag}_runs:/app/runs:ro --name {tag} {tag} \\
    python -m serve.launch --model {served}
```
"""

ASK = """\

```bash
curl -s http://127.0.0.1:8080/health
curl -s http://127.0.0.1:8080/process -H 'Content-Type: application/json' -d '{"prompt": "The capital of France is "}'
```

`openapi.json` describes `/process`, `/tokenize`, `/decode` and `/health`.

"""

EXPECT = """\
## What to expect

- {start}
- `/health` answers 503 `loading`, then 200 `ready`. The container's own health check says the same.
- The weights have {size}. They are checked once; `docker restart` goes on with what is there.
- 30 requests at once are answered together; more wait their turn.
- `docker stop -t {grace:.0f} {tag}` answers what was accepted, then ends with exit code 0.
- The process runs as a user without rights. With `--read-only`, add `--tmpfs /tmp:exec`{volume}.
- A port other than 80 inside, or an engine that lets no plain user open port 80: put
  `python -m serve.launch --port 8080` behind the image's name.
- Nothing is sent anywhere: telemetry of all libraries is off.

"""

FETCHED = """\
On its first start the container fetches the weights. Meanwhile port 80 answers `/health` only, and
  closes other requests unanswered, so that nobody takes it for ready. A download that breaks goes on
  at its byte, also after a restart. To keep the weights for other containers: `-v NAME:/app/model`."""

MOUNTED = (
    "A request that comes while the model is loaded (seconds to minutes) waits for its answer."
)

TRAIN = """\
## Train anew

```bash
docker build --target train -t {tag}_train .
docker run{gpus} -v {tag}_runs:/app/runs -v {tag}_cache:/app/.cache {tag}_train make day {call}
docker run{gpus} -v {tag}_runs:/app/runs -v {tag}_cache:/app/.cache {tag}_train make reproduce RUN=. INTO={again}
```

`make day` makes data, training, merging, quantizing and HELM scores anew within {hours} of one GPU.
`make reproduce` does so from `manifest.json` alone, with the steps that the first run's clock allowed,
names every input that differs here, and compares the SHA-256 of every file. `DATA.md` names data, base
model and licences.

"""

PLAIN = """\
## Without Docker

Linux on x86-64, Python 3.12 with `venv`, and Make. The first call sets the environment up.

```bash
make day {call}
make serve {call} PORT=8080
```
"""

PLAIN_FETCHED = """\
## Without Docker

Linux on x86-64, Python 3.12 with `venv`.

```bash
python3.12 -m venv .venv
.venv/bin/pip install --require-hashes{index} --requirement requirements/hashed/serve-{device}.txt
.venv/bin/python -m serve.launch --device {device} --port 8080
```
"""


def render(recipe: Recipe, weights: dict[str, Any]) -> str:
    """The text.

    Args:
        recipe: the resolved recipe.
        weights: the content of ``weights.json``.
    """
    rebuilt, gpu = weights["source"] == "rebuild", recipe.hardware.device == "cuda"
    words = {
        "tag": tag(recipe.name),
        "gpus": " --gpus all" if gpu else "",
        "driver": ", an NVIDIA driver 580 or newer and its container toolkit" if gpu else "",
        "served": f"runs/{slug(recipe.name)}/{STAGES[served(recipe)].folder}",
        "again": f"runs/{slug(recipe.name)}-again",
        "call": make_words(recipe.name),
        "hours": _hours(recipe),
        "size": _size(weights),
        "grace": recipe.serve.drain_s + 10,  # then last bytes are sent, processes ended
        "start": MOUNTED if rebuilt else FETCHED,
        "volume": "" if rebuilt else " and a volume for `/app/model`",
        "device": recipe.hardware.device,
        "index": "" if gpu else f" --extra-index-url {CPU_TORCH}",
    }
    head = HEAD.format(title=_title(recipe), what=_what(recipe), where=_where(weights))
    build = (BUILD_REBUILT if rebuilt else BUILD).format(**words)
    plain = (PLAIN if rebuilt else PLAIN_FETCHED).format(**words)
    parts = (head, build, ASK, EXPECT.format(**words), TRAIN.format(**words), plain)
    return "".join(parts)


def _title(recipe: Recipe) -> str:
    return f"Submission {recipe.name}"


def _what(recipe: Recipe) -> str:
    track = recipe.hardware.track
    end = f"in the {track} track" if track != "none" else "in no track: a demonstration"
    text = (
        f"{recipe.model.id}, fine-tuned in at most {_hours(recipe)}, behind the HTTP "
        f"contract of the NeurIPS 2023 LLM Efficiency Challenge; {end}."
    )
    return textwrap.fill(text, 110)


def _hours(recipe: Recipe) -> str:
    hours = recipe.budget.hours
    return f"{hours:g} hour" if hours == 1 else f"{hours:g} hours"


def _where(weights: dict[str, Any]) -> str:
    if weights["source"] == "hub":
        return f", and fetched\nfrom {weights['id']} at commit {weights['revision']} on the Hugging Face hub"
    return f", and fetched\nfrom {weights['url']}" if weights["source"] == "url" else ""


def _size(weights: dict[str, Any]) -> str:
    files = weights["files"].values()
    heavy = sum(PurePosixPath(name).suffix == ".safetensors" for name in weights["files"])
    total = sum(entry["size"] for entry in files)
    return f"{total / 1e9:.2f} GB in {len(files)} files ({heavy} of tensors)"
