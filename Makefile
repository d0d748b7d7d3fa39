# make demo: pictures -> records -> a trained, measured, exported model. make test: all tests. make check: style, types.
# test-io: the tests of s3://, in an environment of their own, since tensorflow-io goes with an older TensorFlow only.
# Each makes its own environment first; PYTHON chooses the interpreter, PYTHON_IO (3.10 to 3.12) that of test-io.
PYTHON ?= python3
PYTHON_IO ?= $(PYTHON)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
VENV_IO := .venv-io
READY_IO := $(VENV_IO)/.ready

.PHONY: demo test test-io check clean

demo: $(READY)
	$(BIN)/python -m harness.build_records
	$(BIN)/python -m harness.train --gpus all
	@echo
	@echo "Look at it:  $(BIN)/tensorboard --logdir runs      and  runs/emotion_cnn/report.html"

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadscope --durations=15

test-io: $(READY_IO)
	$(VENV_IO)/bin/python -m pytest -n 2 --dist loadscope tests/base/test_storage.py

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy harness benchmarks

$(READY): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $(READY)

$(READY_IO): setup.cfg pyproject.toml
	$(PYTHON_IO) -m venv $(VENV_IO)
	$(VENV_IO)/bin/pip install --quiet --disable-pip-version-check --editable '.[io,test-io]'
	touch $(READY_IO)

clean:
	rm -rf $(VENV) $(VENV_IO) build *.egg-info
