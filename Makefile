# Every command of the book; `make` alone lists them. Each does its own set-up in .venv first.

.DEFAULT_GOAL := help
.PHONY: help book test serve lessons bench gpu offline set-repository clean moved

# The first Python that is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PORT ?= 8000
RUN = .venv/bin/python

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' Makefile

book: .venv/installed ## build the book into _build/html, running the notebooks that changed
	@$(RUN) book/build.py html

test: .venv/installed ## run every test: code, notebooks, lessons, contract, lint, and the pages in a browser
	@$(RUN) -m pytest $(ARGS)

serve: .venv/installed ## build the book and serve it on this machine (another port: PORT=8001)
	@$(RUN) book/build.py serve --port $(PORT)

lessons: .venv/installed ## make the students' handouts from the solutions
	@$(RUN) -m lessons.handout

bench: .venv/installed ## time every kernel on this machine
	@$(RUN) -m minidl bench $(ARGS)

# It installs nothing: a machine with a GPU has its own numba for it, and the libraries to be compared with.
gpu: ## check and time the CUDA kernels with this machine's own Python; without a GPU, compile and trace them
	@for python in $(GPU_PYTHON) python3 python .venv/bin/python; do \
		$$python -c 'import numba, tqdm, psutil, threadpoolctl' 2>/dev/null && \
		exec $$python -m minidl gpu $(ARGS); done; \
	echo "No Python with numba was found; one can be named: make gpu GPU_PYTHON=…"; exit 1

offline: .venv/installed ## build a book that needs no network to be read into _build/offline (needs npm)
	@$(RUN) book/build.py offline

set-repository: .venv/installed ## change the repository's address everywhere: URL=https://github.com/…
	@$(RUN) book/build.py set-repository "$(URL)"

clean: ## remove everything that was built; .venv stays
	rm -rf _build

# Set-up: again when the requirements or the packages change, and when the folder was moved, for .venv holds
# absolute paths.
MOVED = $(shell [ "$$(cat .venv/installed 2>/dev/null)" = "$(CURDIR)" ] || echo moved)
.venv/installed: requirements.txt pyproject.toml $(wildcard */__init__.py) $(MOVED)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed, and none was found."; exit 1; }
	@echo "Setting up .venv (a few minutes the first time) …"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "Python could not make a virtual environment (on Debian: apt-get install python3-venv)."; exit 1; }
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@echo "$(CURDIR)" > $@
