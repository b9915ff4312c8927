# make demo · make test · make bench: each does its own set-up in .venv
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test bench install lint clean help
help:
	@echo "make demo     train a ViT and a ResNet on drawn scenes, explain and score both -> runs/demo/report.md"
	@echo "make test     everything that guards the project"
	@echo "make bench    speed ratios against timm and grad-cam"
	@echo "make install  only create .venv with everything"

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "vision_attn needs Python >= 3.11, got $$($(PYTHON) --version); run make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv .venv

.venv/demo: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

.venv/test: pyproject.toml | .venv/demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

.venv/bench: pyproject.toml | .venv/test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

install: .venv/test .venv/bench

# Networks this small do not fill two cores: both are trained at once, on one each.
TRAIN := OMP_NUM_THREADS=1 $(BIN)/python train.py

demo: .venv/demo
	@test ! -e runs/demo/report.md || rm -r runs/demo
	@start=$$(date +%s); trap 'kill $$other 2>/dev/null' EXIT INT TERM; set -x; \
	$(TRAIN) configs/scenes_resnet.yaml run=runs/demo/resnet train.device=cpu & other=$$!; \
	TQDM_POSITION=1 $(TRAIN) configs/scenes_vit.yaml run=runs/demo/vit train.device=cpu && wait $$other && \
	$(BIN)/python -m vision_attn compare runs/demo/vit runs/demo/resnet --maps 200 --out runs/demo --started $$start

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two workers of one thread each finish sooner than one of two: the networks under test are tiny.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

bench: .venv/bench
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv runs
