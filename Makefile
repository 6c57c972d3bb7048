# One verb per need; each creates what it needs. See README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
GPU_VENV := .venv-gpu
GPU_READY := $(GPU_VENV)/.ready

.PHONY: setup demo demo-train test test-gpu test-reliability test-clients lint format proto bench bench-full \
	bench-gpu

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(READY)
	$(BIN)/python -m bench.demo --out out/demo

# From nothing, for hours; goes on where it was stopped.
demo-train: $(READY)
	$(BIN)/python -m bench.demo_training --out out/demo_model

test: $(READY)
	$(BIN)/python -m pytest -m "not gpu and not slow"

# An environment of its own: ONNX Runtime for GPUs and for CPUs exclude each other, and so do the CUDA
# libraries that PyTorch for GPUs names and those that are pinned for PyTorch on CPUs. TensorRT may
# not be to be had; its tests are skipped then, and say so.
$(GPU_READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(GPU_VENV)
	grep -vE '^(nvidia-|cuda-|onnxruntime=)' constraints.txt >$(GPU_VENV)/constraints.txt
	$(GPU_VENV)/bin/python -m pip install --quiet --upgrade pip
	$(GPU_VENV)/bin/python -m pip install --quiet --constraint $(GPU_VENV)/constraints.txt \
		--editable ".[dev]"
	$(GPU_VENV)/bin/python -c "import sys, torch; torch.version.cuda or sys.exit(\
		f'torch {torch.__version__} is not built for CUDA: give pip an index that has it, as PyPI')"
	$(GPU_VENV)/bin/python -m pip uninstall --quiet --yes onnxruntime
	$(GPU_VENV)/bin/python -m pip install --quiet --constraint $(GPU_VENV)/constraints.txt \
		"onnxruntime-gpu[cuda,cudnn]>=1.28"
	-$(GPU_VENV)/bin/python -m pip install --quiet "tensorrt>=10.3"
	touch $@

test-gpu: $(GPU_READY)
	$(GPU_VENV)/bin/python -m pytest -m gpu -rs

test-reliability: $(READY)
	APSAM_RELIABILITY=full $(BIN)/python -m pytest -s tests/serve/reliability

test-clients: $(READY)
	$(BIN)/python -m tests.clients

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: $(READY)
	$(BIN)/python -m grpc_tools.protoc --proto_path=protos --python_out=. --pyi_out=. \
		--grpc_python_out=. protos/apsam_serve/v1/*.proto protos/apsam_serve/kserve/*.proto

# Short; the full forms take half an hour and more, and write what bench/results keeps.
bench: $(READY)
	$(BIN)/python -m bench.suite --short --out out/bench/short

bench-full: $(READY)
	$(BIN)/python -m bench.suite --out out/bench/full

bench-gpu: $(GPU_READY)
	$(GPU_VENV)/bin/python -m bench.suite --gpu --out out/bench/gpu
