# What a person would look up. `make help` lists it.

# A minimal Debian has no Python; the lab installs whatever else is missing.
PYTHON = $(if $(shell command -v python3),,apt-get update -qq && apt-get install -qq -y python3 && )python3
# For `make install`: the distribution's own Python where there is one, since it is the one that stays.
SYSTEM_PYTHON = $(or $(wildcard /usr/bin/python3),python3)
LAB = $(PYTHON) tools/lab
PREFIX = /opt/vti-updown
BINDIR = /usr/local/sbin
SHAREDIR = /usr/local/share
# The manual page and the completions, each with its place below a share folder.
SHARED = docs/vti-updown.8:man/man8/vti-updown.8 \
	completions/vti-updown.bash:bash-completion/completions/vti-updown \
	completions/_vti-updown:zsh/site-functions/_vti-updown \
	completions/vti-updown.fish:fish/vendor_completions.d/vti-updown.fish
TESTS = tests/kernel tests/strongswan
# Those that need neither root nor a kernel with VTI.
UNIT = tests/unit $(wildcard tests/stories)

.DEFAULT_GOAL := help

help: ## list these
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## two strongSwan hosts, a real tunnel, packets through it, torn down again (root)
	$(LAB) run env PYTHONPATH=tests:tools python3 tools/demo.py

test: unit ## all tests; boots a virtual machine where this kernel has no VTI (root)
	$(LAB) beside
	$(LAB) run python3 tools/run.py kernel -m "not slow" tests/kernel \
		--and python3 tools/run.py strongswan -m "not slow" tests/strongswan

test-all: ## make test, and every slow scenario and the long searches; within an hour (root)
	$(LAB) alone
	VTI_UPDOWN_LIVES=200000 $(LAB) tools python3 tools/run.py unit $(UNIT)
	VTI_UPDOWN_OLDEST=1 $(LAB) run python3 tools/run.py oldest tests/kernel/test_hook.py tests/kernel/test_upkeep.py
	$(LAB) beside
	VTI_UPDOWN_COVERAGE=1 VTI_UPDOWN_EXAMPLES=400 $(LAB) run python3 tools/run.py kernel tests/kernel \
		--and python3 tools/run.py strongswan tests/strongswan

test-recipes: ## every recipe of examples/ and strongSwan's own scenarios, the slow ones, too; about 15 minutes (root)
	$(LAB) beside
	$(LAB) run python3 tools/run.py recipes-a-m tests/strongswan/recipes/test_[a-m]*.py tests/strongswan/test_scenarios.py \
		--and python3 tools/run.py recipes-n-z tests/strongswan/recipes/test_[n-z]*.py

watch: ## some of the tests that need a kernel, as they run: make watch TESTS="tests/kernel/test_hook.py -k borrowed -v"
	$(LAB) beside
	$(LAB) run python3 -m pytest -p no:cacheprovider $(TESTS)

recipes: ## writes docs/recipes.md, which lists the recipes, what tests them, and with which versions (root)
	$(LAB) beside
	$(LAB) tools python3 tools/recipes_page.py

settings: ## writes the tables of docs/settings.md from the table of settings
	$(PYTHON) tools/settings_page.py

man: ## writes docs/vti-updown.8, the manual page, from the tables of settings and commands
	$(PYTHON) tools/man_page.py

completions: ## writes completions/ for bash, zsh and fish from the same tables
	$(PYTHON) tools/completions.py

screens: ## writes the screens of docs/status.md from the stories that make them
	VTI_UPDOWN_WRITE=1 $(LAB) tools python3 -m pytest -q -p no:cacheprovider tests/stories/test_screens.py

unit: ## the tests that need neither root nor a kernel with VTI
	$(LAB) alone
	$(LAB) tools python3 tools/run.py unit $(UNIT)

lint: ## ruff, mypy --strict, and mypy over the tests
	$(LAB) tools ruff check .
	$(LAB) tools ruff format --check .
	$(LAB) tools mypy
	$(LAB) tools sh tools/mypy-tests

density: ## how dense the code is, by package, against structlog; fails where the goal is not met
	$(LAB) tools python3 tools/density.py --against structlog src/vti_updown

mutants: ## small changes to the pure modules, which the tests should notice: a sample, SEED=N the same again, ALL=1 all
	$(LAB) tools pip install --quiet --disable-pip-version-check "vti-updown[mutants]"
	$(LAB) tools python3 tools/mutants.py $(if $(ALL),--all) $(if $(SEED),--seed $(SEED))

bench: ## an up and a down against the bash script, in wall and CPU time; VTI_UPDOWN_BENCH=vm: in a VM (root)
	$(LAB) $(if $(filter vm,$(VTI_UPDOWN_BENCH)),run,tools) python3 tools/bench.py

bench-vm: ## make bench, with real VTIs in the virtual machine where this kernel has none (root)
	$(MAKE) bench VTI_UPDOWN_BENCH=vm

shell: ## a shell on a kernel with VTI, in the virtual machine if need be (root)
	$(LAB) shell

install: ## the hook in $(PREFIX), an environment of its own, linked into $(BINDIR) and $(SHAREDIR) (root)
	$(SYSTEM_PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv >/dev/null; }
	@[ ! -e $(PREFIX) ] || [ -e $(PREFIX)/pyvenv.cfg ] || [ -z "$$(ls -A $(PREFIX))" ] || \
		{ echo "error: $(PREFIX) has other files in it; name a folder for the hook alone: PREFIX=FOLDER"; exit 1; }
	$(SYSTEM_PYTHON) -m venv $(PREFIX)
	$(PREFIX)/bin/pip install --quiet --disable-pip-version-check --upgrade .
	$(PREFIX)/bin/python3 -I tools/launcher.py $(PREFIX)
	mkdir -p $(BINDIR)
	ln -sfn $(PREFIX)/bin/vti-updown $(BINDIR)/vti-updown
	@$(MAKE) --no-print-directory shared

shared:
	@for each in $(SHARED); do \
		place=$${each#*:}; \
		install -D -m 644 $${each%%:*} $(PREFIX)/share/$$place && \
		mkdir -p $$(dirname $(SHAREDIR)/$$place) && \
		ln -sfn $(PREFIX)/share/$$place $(SHAREDIR)/$$place || exit 1; \
	done

uninstall: ## takes away the hook's tunnels, and what `make install` made; refuses while charon has tunnels (root)
	@if [ -e $(PREFIX)/bin/vti-updown ]; then \
		$(PREFIX)/bin/python3 -I tools/uninstall.py $(PREFIX)/bin/vti-updown; fi
	[ "$$(readlink $(BINDIR)/vti-updown)" != $(PREFIX)/bin/vti-updown ] || rm $(BINDIR)/vti-updown
	@for each in $(SHARED); do \
		place=$${each#*:}; \
		[ "$$(readlink $(SHAREDIR)/$$place)" != $(PREFIX)/share/$$place ] || rm $(SHAREDIR)/$$place || exit 1; \
	done
	[ ! -e $(PREFIX)/pyvenv.cfg ] || rm -r $(PREFIX)

clean: ## takes away what tests and builds left in this folder
	rm -rf build dist .lab .coverage* .hypothesis .pytest_cache .mypy_cache .ruff_cache src/*.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help demo test test-all test-recipes watch recipes settings man completions screens shared unit lint density mutants bench bench-vm shell install uninstall clean
