# Every target brings its own virtual environment and its compiled modules up to date first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOT := $(shell find broker protocol storage -name '*.pxd' -o -name '*.pyx' -o -name '*.h')
SOURCES := $(HOT) $(wildcard $(HOT:.pxd=.py))

.PHONY: run test lint bench image clean build crash simulate instructions

$(VENV)/.installed: pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip "setuptools>=77" "Cython>=3.1"
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable ".[test,lint]"
	find broker protocol storage -name '*.c' -delete
	touch $@

.make/compiled: $(VENV)/.installed setup.py $(SOURCES)
	$(BIN)/python setup.py --quiet build_ext --inplace --parallel $$(nproc)
	mkdir -p .make && touch $@

build: .make/compiled

run: build
	$(BIN)/haypile --data-dir ./data

test: build
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: build
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

crash: build
	HAYPILE_TEST_CRASH_ROUNDS=$(or $(N),200) $(BIN)/python -m pytest tests/crash -n 2 -rP

simulate: build
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1000) $(if $(FIRST),--first $(FIRST)) $(if $(ONLY),--only $(ONLY))

bench: build
	$(BIN)/python -m benchmarks $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(PEER),--peer $(PEER)) \
		$(if $(RUNS),--runs $(RUNS)) $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(OUTPUT),--output $(OUTPUT)) $(if $(CHART),--chart $(CHART))

instructions: build
	$(BIN)/python -m benchmarks.instructions --check

# STORAGE_DRIVER goes to buildah by the environment: its flag of that name looks for base images elsewhere.
image:
	$(if $(shell docker info >/dev/null 2>&1 && echo yes),docker build,STORAGE_DRIVER=vfs buildah bud --isolation chroot --format docker) \
		$(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) --tag haypile --file docker/Dockerfile .

clean:
	rm -rf build dist .make $(VENV) *.egg-info
	find broker protocol storage \( -name '*.so' -o -name '*.c' -o -name '*.html' \) -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
