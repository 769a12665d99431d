## Latent Relay: a prompt becomes a picture, through Triton and Ray.
##
PROMPT ?= a large yellow star on a black background
OUT ?= image.png
CASES ?= 5000
MINUTES ?= 30
PIPELINE ?= examples/batch/pipeline.toml

# The words of a request travel in the environment, raw: neither make nor the shell reads them.
$(foreach name,PROMPT OUT NEGATIVE SCHEDULER SEED STEPS GUIDANCE WIDTH HEIGHT,\
  $(eval override export $(name) := $$(value $(name))))

PY := .venv/bin/python

# What the client's own parser refuses is refused before a stack starts for it.
image: setup ## draw PROMPT into OUT; uses a running stack, or starts one and stops it again
	@set -- --timings --out "$$OUT" \
	    $${SEED:+--seed "$$SEED"} $${STEPS:+--steps "$$STEPS"} \
	    $${GUIDANCE:+--guidance-scale "$$GUIDANCE"} $${NEGATIVE:+--negative-prompt "$$NEGATIVE"} \
	    $${WIDTH:+--width "$$WIDTH"} $${HEIGHT:+--height "$$HEIGHT"} \
	    $${SCHEDULER:+--scheduler "$$SCHEDULER"} -- "$$PROMPT"; \
	$(PY) -c 'import client; client.parse()' "$$@" && \
	exec $(PY) -m ray_stages exec -- $(PY) client.py "$$@"

serve: setup ## keep the stack running until Ctrl-C
	@exec $(PY) -m ray_stages serve

batch: setup ## draw the prompts of files, as PIPELINE says; ARGS such as --dry-run, --limit 8
	@exec $(PY) -m batch run "$(PIPELINE)" $(ARGS)

test: setup ## unit tests and the integration suite, in two processes; ARGS go to pytest
	@exec $(PY) -m pytest -n 2 $(ARGS)

test-fast: setup ## what needs no stack, browser or export, about a minute; ARGS go to pytest
	@exec $(PY) -m pytest -n 2 -m "not live and not slow" $(ARGS)

cluster-test: setup ## autoscaling, upgrades and two Tritons on a cluster of several nodes here
	@exec $(PY) -m pytest --timeout=900 tests/cluster $(ARGS)

fault-test: setup ## break each part in turn under load; WRITE_REPORT=1 writes the table of docs/reliability.md
	@exec $(PY) -m pytest --timeout=900 tests/faults $(ARGS)

compose-test: setup ## build the image, and try it in containers: draw, lose a worker, take it down
	@exec $(PY) -m pytest tests/compose -s $(ARGS)

lock: ## pin what the image installs, by hash, as pyproject.toml says (needs uv)
	@exec scripts/lock

fuzz: setup ## hostile requests to a stack of its own; CASES=50000; ARGS such as --seed 7
	@exec $(PY) -m tests.fuzz --cases "$(CASES)" $(ARGS)

soak: setup ## four fifths of what a stack can do, and whether all stays flat; MINUTES=30
	@exec $(PY) -m tests.fuzz.soak --minutes "$(MINUTES)"

bench: setup ## measure us beside our peers, 30 minutes; ARGS go to benchmarks, such as --quick
	@exec $(PY) -m benchmarks $(ARGS)

bench-runtimes: setup ## measure every runtime and precision; ARGS such as --quick, --sd15
	@exec $(PY) -m benchmarks.runtimes $(ARGS)

bench-batch: setup ## measure the batch pipeline beside a plain map_batches; ARGS such as --dry
	@exec $(PY) -m benchmarks.batch $(ARGS)

check: setup ## what CI checks first: ruff, formatting, types
	@exec scripts/check

format: setup ## let ruff put the code in order
	@$(PY) -m ruff check --fix .
	@exec $(PY) -m ruff format .

setup: .venv/.installed ## make .venv and install the pinned dependencies (the others do it too)

clean: ## remove caches; keeps .venv and .train
	@rm -rf .run .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name .venv -prune -o -name __pycache__ -prune -exec rm -rf {} +

help: ## show this
	@awk '/^## ?/ { print substr($$0, 4) } \
	      /^[a-z-]+:.* ## / { split($$0, part, /:.* ## /); printf "  make %-14s %s\n", part[1], part[2] }' Makefile

##
## A request:  PROMPT OUT SEED STEPS GUIDANCE NEGATIVE WIDTH HEIGHT SCHEDULER
## The stack:  MODEL DEVICE HTTP_PORT GRPC_PORT METRICS_PORT GATEWAY_PORT, and the others of
##             ray_stages/settings.py and gateway/settings.py
## A batch:    PIPELINE, a TOML file
## Set-up:     PYTHON, an interpreter 3.10 to 3.12
##
## For example: make image PROMPT="a red circle on a white background" OUT=circle.png SEED=7

.venv/.installed: pyproject.toml scripts/setup .venv/bin/python
	@exec scripts/setup

# No recipe: where the interpreter is gone, the set-up counts as out of date and makes .venv anew.
.venv/bin/python:

.DEFAULT_GOAL := help
.PHONY: image serve batch test test-fast cluster-test fault-test compose-test fuzz soak lock bench bench-runtimes bench-batch check format setup clean help
