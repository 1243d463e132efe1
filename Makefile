# Transfer Learning by Experiment: everything a reader or contributor runs. `make help` lists the targets.
#
# Each step leaves a stamp, so a second call does no work that is already done. Settings: PYTHON (creates the virtual
# environment), VENV (its folder), JOBS (notebooks and test workers at a time).

PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= 2

BIN    := $(VENV)/bin
PY     := $(BIN)/python
STAMPS := _build/stamps
PHASE   = $(PY) book/_tools/phase.py
# Chapters and tests run with every non-loopback socket refused, and one thread per process.
OFFLINE := TL_THREADS=1 OMP_NUM_THREADS=1 TL_PROGRESS=0 JUPYTER_PLATFORM_DIRS=1 JUPYTER_PREFER_ENV_PATH=1 PYTHONPATH=$(CURDIR)/tests/no_network

comma     := ,
INSTALLED := $(VENV)/.installed
PACKAGE   := $(shell find tl_helpers -type f -not -name '*.pyc')
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
BOOK      := _config.yml $(shell find book tl_lab -type f -not -name '*.pyc' -not -path 'book/_static/vendor/*')
TOOLS     := $(wildcard book/_tools/*.py)
LAB       := $(shell find tl_lab -type f -not -name '*.py*')
TESTS     := $(shell find tests -type f -not -name '*.pyc')
RUN_TESTS := tests/unit tests/exercises tests/results tests/no_network

# A stamp bears the time at which its step began, so that an edit made meanwhile is not lost.
BEGIN = @touch $@.begun
END   = @mv $@.begun $@

# A stamp is worth nothing when what it stands for is gone.
VENDOR_GONE := $(if $(wildcard book/_static/vendor/require.js),,gone)
HTML_GONE   := $(if $(wildcard _build/html/book/index.html),,gone)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help install vendor execute book test check results replicate elsewhere lab serve clean gone

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' Makefile

install: $(INSTALLED)  ## create .venv and install the book's package and tools into it
vendor: $(STAMPS)/vendor  ## bring the front-end files that the built book serves itself
execute: $(STAMPS)/execute  ## run every chapter whose code has changed, two at a time
book: $(STAMPS)/html  ## build the whole book into _build/html
	@$(PHASE) summary install vendor execute build
	@echo "Open _build/html/index.html, or run 'make serve'."

test: $(STAMPS)/lint $(STAMPS)/unit $(STAMPS)/chapters $(STAMPS)/html $(STAMPS)/browser  ## run all tests: code, chapters, strict build, real browser
	@$(PHASE) summary install vendor lint unit chapters execute build browser

check: $(INSTALLED)  ## lint and run the fast unit tests (about three minutes)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(OFFLINE) $(PY) -m pytest $(wildcard tests/unit tests/exercises) -m "not slow" -n $(JOBS) -q

# STUDIES=freeze_grid,strategies (all by default), STORAGE=database URL that several machines share, LIMIT=runs now.
# TL_SEED_BASE=1000: with fresh seeds, the cells that claims cite.
results: $(INSTALLED)  ## record what is missing in tl_helpers/book/results: hours on two cores
	$(PY) -m tl_helpers.book.studies $(subst $(comma), ,$(STUDIES)) --workers $(JOBS) $(if $(STORAGE),--storage $(STORAGE)) $(if $(LIMIT),--limit $(LIMIT))

# CHAPTERS=04,13 (all by default); a second call executes only what has changed.
replicate: $(INSTALLED)  ## execute chapters once more with fresh seeds, say which claims held again
	$(OFFLINE) $(PY) book/_tools/replicate.py --jobs $(JOBS) $(if $(CHAPTERS),--chapters $(CHAPTERS))

# CHAPTERS=04,13 MACHINES=sse41,two-threads (all by default); a second call goes on where the first one stopped.
elsewhere: $(INSTALLED)  ## execute chapters as other machines would, each with a cold store: hours for all of them
	$(OFFLINE) $(PY) book/_tools/elsewhere.py --jobs $(JOBS) $(if $(CHAPTERS),--chapters $(CHAPTERS)) $(if $(MACHINES),--machines $(MACHINES))

lab: $(INSTALLED)  ## open JupyterLab on the start page and the chapters
	$(BIN)/jupyter-lab

serve: $(STAMPS)/html  ## show the built book at http://127.0.0.1:8000
	$(PY) -m http.server --bind 127.0.0.1 --directory _build/html 8000

clean:  ## remove what the build made; keeps the virtual environment and your stored runs
	rm -rf _build book/_static/vendor node_modules .pytest_cache .ruff_cache

gone:

$(STAMPS):
	@mkdir -p $@

$(INSTALLED): pyproject.toml setup.py constraints.txt $(LAB)
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) book/_tools/phase.py run install -- $(PY) -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e ".[dev]"
	$(PY) -m tl_helpers.data.sentiment
	@touch $@

$(STAMPS)/vendor: package.json package-lock.json book/_tools/vendor.py $(INSTALLED) $(VENDOR_GONE) | $(STAMPS)
	$(BEGIN)
	$(PHASE) run vendor -- $(PY) book/_tools/vendor.py
	$(END)

$(STAMPS)/execute: $(NOTEBOOKS) $(PACKAGE) $(TOOLS) constraints.txt $(INSTALLED) | $(STAMPS)
	$(BEGIN)
	$(OFFLINE) $(PHASE) run execute -- $(PY) book/_tools/execute.py --jobs $(JOBS)
	$(END)

$(STAMPS)/html: $(BOOK) $(STAMPS)/execute $(STAMPS)/vendor $(HTML_GONE) | $(STAMPS)
	$(BEGIN)
	$(OFFLINE) $(PHASE) run build -- $(BIN)/jupyter-book build . --toc book/_toc.yml --all -W -n --keep-going -q
	$(END)

$(STAMPS)/lint: $(PACKAGE) $(NOTEBOOKS) $(BOOK) $(TESTS) $(wildcard benchmarks/*.py notebooks/ruff.toml) pyproject.toml $(INSTALLED) | $(STAMPS)
	$(BEGIN)
	$(PHASE) run lint -- sh -c "$(PY) -m ruff check . && $(PY) -m ruff format --check ."
	$(END)

$(STAMPS)/unit: $(PACKAGE) $(NOTEBOOKS) $(BOOK) $(TESTS) README.md pyproject.toml environment.yml package.json package-lock.json $(INSTALLED) | $(STAMPS)
	$(BEGIN)
	$(OFFLINE):$(CURDIR)/book/_tools $(PHASE) run unit -- $(PY) -m pytest -p passed $(wildcard $(RUN_TESTS)) -n $(JOBS) --durations=20
	$(END)

# Every chapter computes everything anew, and what it showed is kept for the book. Beside them, one chapter on one
# emulated machine, chosen by the commit.
$(STAMPS)/chapters: $(NOTEBOOKS) $(PACKAGE) $(TOOLS) $(wildcard tests/elsewhere/*.py tests/no_network/*.py) constraints.txt $(INSTALLED) | $(STAMPS)
	$(BEGIN)
	$(OFFLINE):$(CURDIR)/book/_tools TL_FRESH=1 $(PHASE) run chapters -- $(PY) -m pytest -p keep --nbval-lax --nbval-current-env --nbval-cell-timeout=1500 -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations=20 tests/elsewhere notebooks
	$(END)

$(STAMPS)/browser: $(STAMPS)/html $(TESTS) $(NOTEBOOKS) | $(STAMPS)
	$(BEGIN)
	$(OFFLINE) $(PHASE) run browser -- $(PY) -m pytest tests/book tests/install -n $(JOBS) --durations=20
	$(END)
