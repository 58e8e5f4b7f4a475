# `make demo` and `make test` do everything on a fresh machine; each builds .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := $(CURDIR)/demo
BUNDLE := bundles/brain_tissue_mr
RUN := cd $(BUNDLE) && $(CURDIR)/$(BIN)/python -m monai.bundle run
CHECKED := medloss plugins tests docs bundles

.PHONY: help demo test lint format typecheck unit kernels docs wheel clean
help:
	@echo "make demo   train a bundle, infer the held-out half, score it (a few minutes on 2 cores)"
	@echo "make test   lint, types, tests, and the wheel in a clean environment"
	@echo "make lint   only ruff and mypy; make format applies what ruff can"
	@echo "make kernels  compile the GPU kernels on the triton of every supported torch; needs no GPU"
	@echo "make docs   the documentation as a site: open site/index.html"

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "medloss needs Python 3.11 or newer; say make PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,docs]'
	@touch $@

demo: $(VENV)/.installed
	$(RUN) --config_file configs/train.json --dataset_dir $(DEMO)/data --ckpt_dir $(DEMO)/models
	$(RUN) --config_file configs/inference.json --dataset_dir $(DEMO)/data --ckpt_dir $(DEMO)/models \
	    --output_dir $(DEMO)/predictions
	$(BIN)/medloss eval $(DEMO)/predictions $(DEMO)/data/labelsTs --labels "1=grey matter,2=white matter" \
	    --output $(DEMO)/scores --force
	@echo "Weights and predictions are in demo/; open demo/scores/report.html for the scores."

test: lint unit docs wheel

lint: $(VENV)/.installed
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy

format: $(VENV)/.installed
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

unit: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadgroup

# Not part of make test, which compiles on the triton that is installed: this takes half an hour.
kernels: $(VENV)/.installed
	$(BIN)/python docs/examples/compile_on_every_triton.py $(VENV)/triton

# A warning is an error (strict in mkdocs.yml). torch and mkdocs announce what does not concern us.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 PYTHONWARNINGS=ignore::DeprecationWarning $(BIN)/mkdocs build --quiet
	$(BIN)/python docs/hooks/check_site.py site

# The wheel and the editable install follow different rules, so the wheel is installed and used.
wheel: $(VENV)/.installed
	rm -rf dist .venv-wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --constraint constraints.txt --wheel-dir dist .
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt dist/*.whl
	cd dist && ../.venv-wheel/bin/medloss list && ../.venv-wheel/bin/medloss info dice --kind loss > /dev/null
	cd dist && ../.venv-wheel/bin/python -c "import medloss; print(medloss.losses.DiceCELoss(softmax=True))"
	rm -rf .venv-wheel

clean:
	rm -rf $(VENV) .venv-wheel dist site .pytest_cache .mypy_cache .ruff_cache
