# Every command of the project. `make` alone lists them.
#
# VENV      where the virtual environment lives
# PYTHON    the interpreter that makes it (3.11, 3.12 or 3.13); found by itself where it has its usual name
# PIP_ARGS  passed to pip, for instance to take the CPU build of torch:
#           make serve PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
# REQUESTS, ENGINE, SEED  of `make soak`; SOAK_ARGS gives it more options, for instance "--json FILE"
# SCENARIO  of `make loadtest`, smoke by default; WORKERS: processes of Locust that make the load, under a master;
#           LOADTEST_ARGS: more options, for instance "--rate 200 --against FILE" (python -m loadtests --help)
# PICTURE_ARGS  of `make pictures` and `make loadtest-picture`; of the latter for instance
#           "--report run/loadtest/FOLDER" to take a run that was made
# BENCH_ARGS  more options of a benchmark, for instance "--quick --json FILE" (python -m loadtests.bench --help)
# CRD_SCHEMAS  of `make deploy-check`, the folder with JSON Schemas of custom resources, KIND_GROUP_VERSION.json
#           in lower case; ../shared/schemas by default
# FAULTS_SECONDS, FLEET_SECONDS  how long the load of `make faults` and `make fleet` goes on before and after
#           each fault or change

VENV     ?= .venv
PYTHON   ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
PIP_ARGS ?=
REQUESTS ?= 20000
ENGINE   ?= fake
SEED     ?= 1
SCENARIO ?= smoke
WORKERS  ?= 0
FAULTS_SECONDS ?= 5
FLEET_SECONDS ?= 5

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS)

# What travels in an archive, or decides what does: when it changes, the demo's archives are made anew.
DEMO_SOURCES  := $(wildcard handlers/*.py model_store/*.py model_store/*/*.py)
CHECKOV       := 3.3.30
# With this mapping protoc writes, and imports, serve/pb/NAME_pb2.py for proto/NAME.proto.
PROTOC := $(BIN)/python -m grpc_tools.protoc -Iserve/pb=proto
PROTOS := $(patsubst proto/%,serve/pb/%,$(wildcard proto/*.proto))

.DEFAULT_GOAL := help
.PHONY: help setup serve test test-all test-slow simulate check format proto proto-check bench \
        bench-model bench-growth bench-gpu bench-peers loadtest soak faults fleet deploy-check dashboards page page-check \
        bench-page pictures report-picture loadtest-picture clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- environment ---------------------------------------------------------------------------------------------

setup: $(VENV)/.demo ## make the virtual environment with all that `make serve` needs

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "PYTHON is '$(PYTHON)'; attnserve needs Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); echo "no virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@$(BIN)/python -c 'import torch' 2>/dev/null || printf '%s\n' \
	  "Installing into $(VENV). To download: about 170 MB, and torch 2.13.0 on top:" \
	  "about 190 MB as CPU build, about 2.7 GB as CUDA build, which is what PyPI has for Linux on x86-64." \
	  "For the CPU build: make $(MAKECMDGOALS) PIP_ARGS=\"--extra-index-url https://download.pytorch.org/whl/cpu\""
	@$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "Installing the tools of development into $(VENV). To download: about 100 MB."
	@$(PIP) --editable '.[demo,dev,loadtest]'
	@# timm wants torchvision, whose build must match torch's; the tests need the nets alone, and give
	@# timm a stand-in (tests/standins).
	@$(PIP) --no-deps timm==1.0.31
	@touch $@

# checkov wants versions of packages that others here do not: it has an environment of its own.
$(VENV)/.checkov-$(CHECKOV): | $(BIN)/python
	@echo "Installing checkov into $(VENV)/checkov. To download: about 35 MB; on disk: about 290 MB."
	@$(BIN)/python -m venv $(VENV)/checkov
	@$(VENV)/checkov/bin/python -m pip install --disable-pip-version-check $(PIP_ARGS) checkov==$(CHECKOV)
	@touch $@

# --- the service ---------------------------------------------------------------------------------------------

serve: model_store/archives/.demo ## start TorchServe and the gateway with the demo's nets, and show them at work
	@exec $(BIN)/attnserve serve --tour run/samples

model_store/archives/.demo: $(DEMO_SOURCES) | $(VENV)/.demo
	@$(BIN)/attnserve build --demo --force --samples run/samples
	@touch $@

# --- the page ------------------------------------------------------------------------------------------------
# It is served as it is written. npm is for the libraries that it uses, which are packed into one file and kept
# in the repository, and for the tools that check it.

PAGE_TOOLS := serve/edge/page_tools

# No lock file: every version is exact, and none of these packages needs another, but for its own binary, which
# it names exactly.
$(PAGE_TOOLS)/node_modules/.made: $(PAGE_TOOLS)/package.json
	@command -v npm >/dev/null || { echo "npm is not here; on Debian and Ubuntu: apt install npm" >&2; exit 1; }
	@npm --prefix $(PAGE_TOOLS) install --no-package-lock --no-fund --no-audit --loglevel error
	@touch $@

page: $(PAGE_TOOLS)/node_modules/.made ## pack the page's libraries from npm anew, and format the page
	@npm --prefix $(PAGE_TOOLS) run --silent vendor
	@npm --prefix $(PAGE_TOOLS) run --silent format

page-check: $(PAGE_TOOLS)/node_modules/.made ## the page's types, lint and format; its libraries are what npm gives
	@npm --prefix $(PAGE_TOOLS) run --silent check

# --- tests and checks ----------------------------------------------------------------------------------------

test: $(VENV)/.dev ## run the tests; REQUIRE_ALL=1 turns skips for a missing program into failures
	@$(BIN)/python -m pytest -m "not slow and not exhaustive"

test-all: $(VENV)/.dev ## run the tests with the slow ones, and with every net of the zoo, which takes long
	@$(BIN)/python -m pytest

test-slow: $(VENV)/.dev ## run only the slow tests, but not those of `make faults`, `make fleet`, nor every net of the zoo
	@$(BIN)/python -m pytest -m "slow and not exhaustive" --ignore tests/faults --ignore tests/fleet

simulate: $(VENV)/.dev ## simulate experiments that are looked at all the time, print what the statistics reached
	@$(BIN)/python -m pytest -m slow tests/core/statistics

check: $(VENV)/.dev proto-check ## formatting, lint, types, import floors, stubs' drift
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev ## format the code and repair what ruff can repair
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

proto: $(VENV)/.dev ## generate serve/pb from proto
	@$(PROTOC) --python_out=. --pyi_out=. --grpc_python_out=. $(PROTOS)

proto-check: $(VENV)/.dev
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	$(PROTOC) --python_out="$$fresh" --pyi_out="$$fresh" --grpc_python_out="$$fresh" $(PROTOS) && \
	diff -rq -x __init__.py -x __pycache__ "$$fresh/serve/pb" serve/pb || { \
	  echo "serve/pb is not what proto/ generates: run 'make proto'" >&2; exit 1; }

bench: $(VENV)/.dev ## measure the gateway against a bare loop on the same cores, in the same run
	@$(BIN)/python -m loadtests.bench $(BENCH_ARGS)

bench-model: $(VENV)/.dev ## measure a net in all its forms, in turns, and what attention costs in each
	@$(BIN)/python -m loadtests.bench_model $(BENCH_ARGS)

bench-growth: $(VENV)/.dev ## measure how cost grows with batch, callers, models, experiments, image size, workers
	@$(BIN)/python -m loadtests.growth $(BENCH_ARGS)

bench-gpu: $(VENV)/.dev ## the same on a GPU: the net bare and served, with each recipe, and what limits
	@$(BIN)/python -m loadtests.bench_model --gpu $(BENCH_ARGS)

bench-peers: $(VENV)/.dev ## measure what one would pick instead, each installed under run/peers, in turns
	@$(BIN)/python -m loadtests.peers --pip "$(PIP_ARGS)" $(BENCH_ARGS)

bench-page: $(VENV)/.dev ## measure how fast the page opens and what a live view costs the gateway; needs chromium
	@$(BIN)/python -m loadtests.page.bench $(BENCH_ARGS)

loadtest: $(VENV)/.dev ## put load on a gateway, check every reply, write a report; SCENARIO=list shows what there is
	@$(BIN)/python -m loadtests $(if $(filter list,$(SCENARIO)),--list,$(SCENARIO) --workers $(WORKERS) $(LOADTEST_ARGS))

soak: $(VENV)/.dev ## send REQUESTS to a gateway whose engines break (ENGINE=fake or torchserve), account for each
	@$(BIN)/python -m loadtests.soak --requests $(REQUESTS) --engine $(ENGINE) --seed $(SEED) $(SOAK_ARGS)

faults: $(VENV)/.dev ## hurt real TorchServes under load, each in another way, and print what came of it
	@FAULTS_SECONDS=$(FAULTS_SECONDS) $(BIN)/python -m pytest tests/faults

fleet: $(VENV)/.dev ## let pods come and go in a cluster of network namespaces, and print what was seen; needs root
	@FLEET_SECONDS=$(FLEET_SECONDS) $(BIN)/python -m pytest tests/fleet

pictures: model_store/archives/.demo $(VENV)/.dev ## take the pictures of the page for README, of the demo at work; needs chromium
	@$(BIN)/python -m loadtests.page.pictures $(PICTURE_ARGS)

report-picture: $(VENV)/.dev ## draw the picture of a report that README shows, from simulated data; needs chromium
	@$(BIN)/python -m loadtests.example_report --picture serve/reporting/example.png

loadtest-picture: $(VENV)/.dev ## run a load test in steps and draw the picture of its report for README; needs chromium
	@$(BIN)/python -m loadtests.report.example $(PICTURE_ARGS)

dashboards: $(VENV)/.dev ## write Grafana's dashboards anew from the code in deploy/monitoring/dashboards
	@$(BIN)/python -m deploy.monitoring.dashboards

deploy-check: $(VENV)/.dev $(VENV)/.checkov-$(CHECKOV) ## check manifests, alerts, dashboards and Dockerfiles; needs no cluster
	@$(BIN)/python -m deploy.checking

clean: ## remove caches and what runs left; keeps the virtual environment and the archives
	rm -rf run logs build dist *.egg-info
	rm -f model_store/archives/.demo  # the samples are gone with run/
	rm -rf .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
