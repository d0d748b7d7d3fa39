# make demo: pictures -> records -> a trained, measured, exported model. make test: all tests. make check: style.
# Each makes its own .venv first; PYTHON chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check clean

demo: $(READY)
	$(BIN)/python -m harness.build_records
	$(BIN)/python -m harness.train --gpus all
	@echo
	@echo "Look at it:  $(BIN)/tensorboard --logdir runs      and  runs/emotion_cnn/report.html"

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadscope

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(READY): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info
