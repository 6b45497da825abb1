# One LLM, one GPU, one day. `make` alone lists what there is.
#
#   HW=4090|a100|cpu   the card, that is recipes/HW.yaml           (default: cpu)
#   RECIPE=my.yaml     a recipe of your own, instead of HW
#   SET="k=v ~k"       change or remove values: SET="train.learning_rate=1e-4 ~train.weight_decay"
#   FORCE=1            day, data, sweep, train, soup, merge, quantize, eval, reproduce, plan PROBE=1: go on, and say so, where check fails
#   PORT=8080          for serve, instead of the recipe's
#   RUNS=runs          where run folders live
#   RUN=runs/cpu       for verify, reproduce, report, publish: a run folder;  INTO=folder: where reproduce builds
#   JSON=1             check, plan, clock, reproduce: for programs;  STRICT=1, TRACK=4090|a100|none: for check
#   N=5 SOURCE=name    preview: rows a source (default: 2), of one source only
#   PROBE=1            plan: three steps on the GPU of the recipe and the best proposals; writes recipes/tuned/
#   POINTS=file.json   plan: published runs instead of a recipe
#   TYPE="F16 Q4_K_M"   export: weight types of the GGUF; all: each  (default: Q8_0);  FORMAT=onnx: of a model with an encoder
#   TIER=open:100      eval: what HELM asks, instead of the recipe's;  DATA=folder: HELM's data, not downloaded
#   EXECUTOR=datatrove:4   data: read by so many tasks at once; datatrove-slurm:64,partition=P,time=T: by Slurm
#   JOBS=2             test: so many processes share the tests  (default: 2; JOBS= : one after the other)
#   WITH=lm-eval       eval: TASKS=name,my.yaml put by lm-evaluation-harness
#   WITH=runs/other    report: another run side by side, what changed in the recipe and what it gained
#   POOL="a.json b"    score, report: published results, HELM suites, run folders;  ENTRY=name: whose score to raise
#   TO=you/name        publish: the hub id that the model will have
#   FOLDER=folder      rehearse: a submission, instead of the recipe's;  MODEL=folder BASE=image BUILD=words ENGINE=name
HW     ?= cpu
RECIPE ?=
SET    ?=
FORCE  ?=
PORT   ?=
RUNS   ?= runs
RUN    ?=
INTO   ?=
PYTHON ?=
JOBS   ?= 2
EXECUTOR ?=

PY      := .venv/bin/python
HELM    := .venv-helm/bin/python
GGUF    := .venv-gguf/bin/python
CLIENTS := .venv-clients/bin/python
COMPRESS := .venv-compress/bin/python
ONNX    := .venv-onnx/bin/python
FORMAT ?= gguf
TYPE   ?=
TIER   ?=
DATA   ?=
WITH   ?=
TASKS  ?=
POOL   ?=
ENTRY  ?=
FOLDER ?=
TO     ?=
SCORE  ?=
OLD    ?=
MODEL  ?=
BASE   ?=
BUILD  ?=
ENGINE ?=
CONF   ?=
EVERY  ?=
SERVERS ?=
DEVICE ?=
N      ?=
SOURCE ?=

# `make lint-submission PATH=folder` would also put the folder where the shell looks for programs.
ifeq ($(origin PATH),command line)
SUBMISSION := $(PATH)
override PATH := $(shell /bin/sh -c 'echo "$$PATH"'):/usr/local/bin:/usr/bin:/bin
endif

RECIPES := $(if $(RECIPE),--recipe "$(RECIPE)",--hw "$(HW)") $(if $(SET),--set "$(SET)") --runs "$(RUNS)"
# exec: a stop that only make is told (docker stop, kill) reaches the verb, not a shell that dies of it alone.
TOOLS    = exec $(PY) -m tools
FORCED  := $(if $(FORCE),--force)

export AXOLOTL_DO_NOT_TRACK := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup helm day data sweep train soup merge quantize export serve eval score report submission publish \
        lint-submission \
        rehearse show check preview plan clock verify reproduce test test-all lint format schema recipe-schema helm-schema openapi lock gpu gguf onnx clients compress \
        clean bench-card bench-check bench-clock bench-conf bench-kept bench-merge bench-quantize bench-schedule bench-serve soak fuzz torture
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^#   /  /p' Makefile
	@echo
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

day: ## the whole chain: data, train, merge, quantize, serve, HELM scores (skips what is done)
	+@$(BOTH) setup helm compress
	@$(TOOLS) day $(RECIPES) $(FORCED)

data: setup ## make the training, validation and test rows
	@$(TOOLS) data $(RECIPES) $(FORCED) $(if $(EXECUTOR),--executor "$(EXECUTOR)")

sweep: setup ## search for the values to train with, as the recipe's sweep: says (goes on from the last checkpoint)
	@$(TOOLS) sweep $(RECIPES) $(FORCED)

train: setup ## train the adapter (goes on from the last checkpoint)
	@$(TOOLS) train $(RECIPES) $(FORCED)

soup: setup ## average the adapter with others, as the recipe's soup: says, where held-out rows say it is better
	@$(TOOLS) soup $(RECIPES) $(FORCED)

merge: setup ## add the adapter to the base model
	@$(TOOLS) merge $(RECIPES) $(FORCED)

quantize: setup compress ## put the merged model into the served format
	@$(TOOLS) quantize $(RECIPES) $(FORCED)

export: setup $(filter gguf onnx,$(FORMAT)) ## the merged model as FORMAT=gguf of TYPE="Q8_0 Q4_K_M", proven in llama.cpp, or as FORMAT=onnx, in ONNX Runtime
	@$(TOOLS) export $(RECIPES) --format "$(FORMAT)" --type "$(TYPE)"

serve: setup ## serve the tuned model behind the challenge's HTTP contract
	@$(TOOLS) serve $(RECIPES) $(if $(PORT),--port $(PORT))

eval: setup helm ## score base and tuned model with HELM
	@$(TOOLS) eval $(RECIPES) $(FORCED) $(if $(TIER),--set "eval.tier='$(TIER)'") $(if $(DATA),--set "eval.data='$(DATA)'") \
	  $(if $(WITH),--with "$(WITH)") $(if $(TASKS),--tasks "$(TASKS)")

score: setup ## the organizers' score of a pool and your runs: rank, win rates, what would raise it
	@$(TOOLS) score $(POOL) --runs "$(RUNS)" $(if $(ENTRY),--entry "$(ENTRY)") $(if $(JSON),--json)

report: setup ## all of a run on one page: runs/NAME/report.html
	@$(TOOLS) report $(RECIPES) $(if $(RUN),--run "$(RUN)") $(if $(WITH),--with "$(WITH)") $(if $(POOL),--pool $(POOL))

submission: setup ## pack a finished run into dist/submission-NAME/ and .zip, for strangers to build and run
	@$(TOOLS) submission $(RECIPES)

publish: setup ## a folder for the Hugging Face hub, dist/hub-NAME/, with its model card; pushing it stays yours
	@$(TOOLS) publish $(RECIPES) $(if $(RUN),--run "$(RUN)") $(if $(TO),--to "$(TO)")

lint-submission: setup ## would the folder PATH=… build, start and be scored by the organizers?
	@$(TOOLS) lint-submission "$(SUBMISSION)" $(if $(JSON),--json)

rehearse: setup helm ## do what the organizers do with a submission, more strictly: one verdict page
	@$(TOOLS) rehearse $(RECIPES) $(if $(FOLDER),--folder "$(FOLDER)") $(if $(MODEL),--model "$(MODEL)") \
	  $(if $(BASE),--base "$(BASE)") $(if $(BUILD),--build="$(BUILD)") $(if $(ENGINE),--engine "$(ENGINE)")

show: setup ## print the resolved recipe and where each value comes from
	@$(TOOLS) show $(RECIPES)

check: setup ## is the recipe valid, does it suit the card, is it eligible?
	@$(TOOLS) check $(RECIPES) $(if $(STRICT),--strict) $(if $(TRACK),--track "$(TRACK)") $(if $(JSON),--json)

preview: setup ## show rows as they are trained: tokens, what of them is learnt, lengths; refuse what is wrong
	@$(TOOLS) preview $(RECIPES) $(if $(N),--rows "$(N)") $(if $(SOURCE),--source "$(SOURCE)")

plan: setup ## predict memory, speed, hours, disk: does it fit, and what would be faster?
	@$(TOOLS) plan $(RECIPES) $(FORCED) $(if $(PROBE),--probe) $(if $(JSON),--json) $(if $(POINTS),--points "$(POINTS)")

clock: setup ## what is used and left of the day, and how far the stage at work is
	@$(TOOLS) clock $(RECIPES) $(if $(JSON),--json)

verify: setup ## is every file of RUN what its manifest says?
	@$(TOOLS) verify --run "$(RUN)"

reproduce: setup compress ## rebuild RUN from its manifest alone in a fresh folder, and compare
	@$(TOOLS) reproduce --run "$(RUN)" $(FORCED) $(if $(INTO),--into "$(INTO)") $(if $(JSON),--json)

test: ## lint, then all tests, the real chain on a tiny model included
	+@$(BOTH) lint helm compress
	@$(PY) -m pytest --durations=40 --durations-min=8 $(if $(JOBS),--numprocesses=$(JOBS))

test-all: ## the same and the slow ones, which `make test` names as skipped
	@ONEDAY_TEST_ALL=1 $(MAKE) --no-print-directory test JOBS="$(JOBS)"

bench-serve: setup ## time the worker beside others, one table (leave the machine alone); DEVICE=cuda MODEL=folder: on a card
	@$(PY) -m benchmarks.serve $(if $(DEVICE),--device $(DEVICE) --recipe recipes/$(HW).yaml) $(if $(MODEL),--model "$(MODEL)")

bench-conf: setup helm ## CONF=file DATA=folder [EVERY=6]: HELM asks our worker and a 2023 server the same, timed
	@$(PY) -m benchmarks.conf --conf "$(CONF)" --data "$(DATA)" --every $(or $(EVERY),1) \
	  $(if $(MODEL),--model "$(MODEL)") $(if $(SERVERS),--servers "$(SERVERS)")

bench-check: setup ## time `make check` and `make plan` beside Axolotl's own validation of the same file
	@$(PY) -m benchmarks.check

bench-card: setup ## on an NVIDIA card: attention of packed rows, card recipes shipped and proposed, side by side
	@$(PY) -m benchmarks.card

bench-clock: setup ## time a step under the clock beside bare `axolotl train` on the same file
	@$(PY) -m benchmarks.clock

bench-quantize: setup gguf ## every format of a run, made, measured and loaded, one table; RUN=folder: of a finished one, SCORE=1: HELM, too
	@$(PY) -m benchmarks.quantize --hw "$(HW)" $(if $(SET),--set "$(SET)") --runs "$(RUNS)" $(if $(RUN),--run "$(RUN)") \
	  $(if $(SCORE),--score)

bench-merge: setup ## peak memory of merge and quantize of a 1.1 GB model; OLD=folder: beside an older clone's
	@$(PY) -m benchmarks.merge_memory $(if $(OLD),--old "$(OLD)")

bench-kept: setup ## OLD=folder MODEL=folder: heads of prompts that are kept, and memory, beside an older tree's engine in turn
	@$(PY) -m benchmarks.kept --old "$(OLD)" --model "$(MODEL)"

bench-schedule: setup ## on a slowed machine: the schedule that knows the time beside a cosine cut off
	@$(PY) -m benchmarks.schedule

torture: .venv/.dev ## twenty kill -9 over train, merge and quantize: same bytes, true ledger
	@$(PY) -m tests.torture

soak: setup ## 30 minutes of 30 clients who ask for everything: right answers, flat memory?
	@$(PY) -m benchmarks.soak

fuzz: .venv/.dev ## 10,000 requests made from openapi.json: no server error, every answer as documented
	@$(PY) -m tests.contract.fuzz --cases 10000

lint: .venv/.dev ## ruff, mypy, codespell, and the house rules: floors and sizes
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy && .venv/bin/codespell \
	  && $(PY) -m tests.house

format: .venv/.dev ## put the code into shape
	@$(PY) -m ruff check --fix . ; $(PY) -m ruff format .

schema: setup ## write tools/recipe/schemas/axolotl.json anew from the installed Axolotl
	@$(PY) -m tools.recipe.axolotl_schema

recipe-schema: setup ## write recipes/schema.json anew: how editors complete and check a recipe's keys
	@$(PY) -m tools.recipe.editor_schema

helm-schema: helm ## write tools/recipe/schemas/helm.json anew: the run entries that the installed HELM knows
	@$(PY) -m tools.recipe.run_entries

openapi: setup ## write openapi.json anew from serve/contract.py
	@$(PY) -m serve.contract

lock: .venv/.dev helm gguf onnx clients compress ## write the lock files anew from what is installed
	@$(PY) requirements/lock.py && $(HELM) requirements/lock.py helm && $(GGUF) requirements/lock.py gguf \
	  && $(CLIENTS) requirements/lock.py clients \
	  && $(COMPRESS) requirements/lock.py compress && $(ONNX) requirements/lock.py onnx && $(PY) requirements/hashes.py

clean: ## remove caches and the environments; run folders stay
	rm -rf .venv .venv-helm .venv-gguf .venv-onnx .venv-clients .venv-compress .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Environments. A stamp is written last, so an interrupted set-up goes on where it stopped.

setup: .venv/.train ## install the main environment (done by the others when needed)

helm: .venv-helm/.done ## install HELM's own environment (its pins clash with Axolotl's)

# Environments at once, two at a time: pip computes on one core, and waits for the network while it loads.
BOTH   = $(MAKE) --no-print-directory --silent --jobs=2 ASKED=$(ASKED)
ASKED ?= $(firstword $(MAKECMDGOALS))

# Found only when an environment is made: other targets need no Python but that one's.
FIND   = PYTHON="$(PYTHON)" sh requirements/find-python.sh $(ASKED)

# An environment of an older Python, or half made, is made anew; only packages are in it.
FITS   = -c 'import sys, pip; sys.exit(sys.version_info[:2] != (3, 12))' 2> /dev/null

gguf: .venv-gguf/.done ## install llama.cpp and its converter (builds it: wants a C++ compiler)

onnx: .venv-onnx/.done ## install onnxscript, which writes ONNX, and ONNX Runtime, which proves it

compress: .venv-compress/.done ## install llm-compressor (w4a16, w8a16, w8a8, fp8), whose pins clash with Axolotl's

clients: .venv-clients/.done ## install the clients that tests ask the worker with, as they come: litellm, LangChain, inspect …

.venv/bin/python .venv-helm/bin/python .venv-gguf/bin/python .venv-onnx/bin/python .venv-clients/bin/python .venv-compress/bin/python:
	@python="$$($(FIND))" && "$$python" -m venv $(@D:%/bin=%)
.venv-helm/bin/python .venv-gguf/bin/python .venv-onnx/bin/python .venv-clients/bin/python .venv-compress/bin/python: | .venv/bin/python # one after the other: where there is none, it is told once

.venv/.train: requirements/train.txt | .venv/bin/python
	@$(PY) $(FITS) || { python="$$($(FIND))" && "$$python" -m venv --clear .venv; }
	@$(PY) requirements/install.py train
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.train
	@$(PY) requirements/install.py dev
	@touch $@

gpu: .venv/.train ## add flash-attn and deepspeed (needs an NVIDIA card and nvcc)
	@$(PY) -m pip install --quiet --no-build-isolation --requirement requirements/gpu.txt

.venv-helm/.done: requirements/helm.txt | .venv-helm/bin/python
	@$(HELM) $(FITS) || { python="$$($(FIND))" && "$$python" -m venv --clear .venv-helm; }
	@$(HELM) requirements/install.py helm --no-deps
	@touch $@

.venv-gguf/.done: requirements/hashed/gguf.txt | .venv-gguf/bin/python
	@$(GGUF) $(FITS) || { python="$$($(FIND))" && "$$python" -m venv --clear .venv-gguf; }
	@CMAKE_ARGS="$${CMAKE_ARGS:--DLLAVA_BUILD=OFF}" $(GGUF) requirements/install.py gguf --no-deps --require-hashes
	@touch $@

.venv-onnx/.done: requirements/hashed/onnx.txt | .venv-onnx/bin/python
	@$(ONNX) $(FITS) || { python="$$($(FIND))" && "$$python" -m venv --clear .venv-onnx; }
	@$(ONNX) requirements/install.py onnx --no-deps --require-hashes
	@touch $@

.venv-clients/.done: requirements/clients.txt | .venv-clients/bin/python
	@$(CLIENTS) $(FITS) || { python="$$($(FIND))" && "$$python" -m venv --clear .venv-clients; }
	@$(CLIENTS) requirements/install.py clients --no-deps
	@touch $@

.venv-compress/.done: requirements/hashed/compress.txt | .venv-compress/bin/python
	@$(COMPRESS) $(FITS) || { python="$$($(FIND))" && "$$python" -m venv --clear .venv-compress; }
	@$(COMPRESS) requirements/install.py compress --no-deps --require-hashes
	@touch $@
