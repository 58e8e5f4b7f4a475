# `make demo` and `make test` do everything on a fresh machine; each builds .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := .venv-uv/bin/uv
SPELLED := README.md CHANGELOG.md CONTRIBUTING.md docs medloss plugins bundles
CHECKED := medloss plugins tests docs bundles conftest.py
# In the order of the folders: what takes longest is not at the end. Who goes where: conftest.py
SPREAD := -n 2 --dist loadgroup --no-loadscope-reorder

.PHONY: help demo test check lint format unit docs pictures wheel kernels resolve lowest clean
help:
	@echo "make demo   train a bundle, infer the held-out half, score it (a few minutes on 2 cores)"
	@echo "make test   lint, types, tests, the site, and the wheel in a clean environment"
	@echo "make check  lint, types, and the tests of what changed since main"
	@echo "make lint   ruff, mypy, and which way imports point; make format applies what ruff can"
	@echo "make kernels  compile the GPU kernels on the triton of every supported torch; needs no GPU"
	@echo "make docs   the documentation as a site: open site/index.html; links and spelling are checked"
	@echo "make resolve   every extra on every Python, from the package registry alone"
	@echo "make lowest    the tests with the lowest versions that pyproject.toml admits"

# torch's CPU build brings no triton; the tests of the GPU kernels need the one that its release pins.
$(VENV)/.installed: pyproject.toml constraints.txt tests/tritons.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "medloss needs Python 3.11 or newer; say make PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,docs]'
	$(BIN)/python tests/tritons.py
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/python -m medloss demo --output demo --force

test: lint unit docs wheel

check: lint
	@$(BIN)/python tests/touched.py > $(VENV)/touched
	@if [ -s $(VENV)/touched ]; then $(BIN)/python -m pytest $(SPREAD) @$(VENV)/touched; \
	else echo "Nothing that has tests changed since main."; fi

lint: $(VENV)/.installed
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: $(VENV)/.installed
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

unit: $(VENV)/.installed
	$(BIN)/python -m pytest $(SPREAD)

# Not part of make test, which compiles on the triton that is installed: this takes half an hour.
kernels: $(VENV)/.installed
	$(BIN)/python docs/examples/compile_on_every_triton.py $(VENV)/triton

# A warning is an error. torch announces what does not concern us.
docs: $(VENV)/.installed
	PYTHONWARNINGS=ignore::DeprecationWarning $(BIN)/python docs/hooks/build_site.py site
	$(BIN)/python docs/hooks/check_site.py site
	$(BIN)/codespell $(SPELLED)

# Of the README and the site; it takes Chromium to photograph a report.
pictures: $(VENV)/.installed
	$(BIN)/python docs/hooks/pictures.py

# The wheel and the editable install follow different rules, so the wheel is installed and used.
wheel: $(VENV)/.installed
	rm -rf dist .venv-wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --constraint constraints.txt --wheel-dir dist .
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt dist/*.whl
	cd dist && ../.venv-wheel/bin/medloss list && ../.venv-wheel/bin/medloss info dice --kind loss > /dev/null
	cd dist && ../.venv-wheel/bin/python -c "import medloss; print(medloss.losses.DiceCELoss(softmax=True))"
	cd dist && ../.venv-wheel/bin/python -c "from medloss.workbench.demo import demo_bundle; print(demo_bundle())"
	cd dist && ../.venv-wheel/bin/medloss new-plugin medloss-wheel --out ../.venv-wheel > /dev/null
	rm -rf .venv-wheel

# uv resolves in seconds what pip would download first; it has an environment of its own.
$(UV):
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/python -m pip install --quiet --disable-pip-version-check uv

resolve: $(UV)
	PATH="$(CURDIR)/.venv-uv/bin:$$PATH" .venv-uv/bin/python tests/resolve.py

# Old versions warn of the new ones beside them: what we should heed shows in `make test`.
lowest: $(UV)
	$(UV) venv --quiet --clear --seed --no-config --python $(PYTHON) .venv-lowest
	$(UV) pip install --quiet --no-config --python .venv-lowest --resolution lowest-direct --editable '.[test,docs]'
	.venv-lowest/bin/python -m pytest $(SPREAD) -W ignore::DeprecationWarning -W ignore::FutureWarning

clean:
	rm -rf $(VENV) .venv-wheel .venv-uv .venv-lowest dist site .pytest_cache .mypy_cache .ruff_cache
