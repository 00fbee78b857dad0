# Everything lives in this folder: `make demo` and `make test` each set up what they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
OUT    ?= results/demo

.PHONY: demo gui test lint screenshots default-model clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

demo: $(STAMP)  ## the main job on the bundled model and a synthetic smear
	$(BIN)/cytodiffusion demo -o $(OUT)

gui: $(STAMP)  ## the same in napari
	$(BIN)/python -m napari_cytodiffusion.demo

test: $(STAMP)  ## everything: style, types, dependency rule, manifest, tests
	bash scripts/test.sh

lint: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

screenshots: $(STAMP)  ## the README's pictures, under Xvfb
	xvfb-run -a -s "-screen 0 1920x1200x24" $(BIN)/python scripts/screenshots.py

PBC ?= pbc
# the folder with bccd and bcisc
FIELDS ?= data
default-model: $(STAMP)  ## hours on a CPU; goes on where it was stopped
	test -f results/default-data/cells.csv || $(BIN)/python -m scripts.default_data.make $(PBC) results/default-data
	$(BIN)/cytodiffusion train results/default-data/cells.csv -o results/default-first \
		--settings scripts/default_model.json --resume
	$(BIN)/cytodiffusion train results/default-data/cells.csv -o results/default-broad \
		--settings scripts/default_model_broad.json --resume
	$(BIN)/cytodiffusion train results/default-data/cells.csv -o results/default-palette \
		--settings scripts/default_model_palette.json --resume
	$(BIN)/cytodiffusion train results/default-data/cells.csv -o results/default-texture \
		--settings scripts/default_model_texture.json --resume
	$(BIN)/cytodiffusion train results/default-data/cells.csv -o results/default \
		--settings scripts/default_model_shape.json --resume
	$(BIN)/cytodiffusion train results/default-data/cells.csv -o results/default-drawing \
		--init results/default --settings scripts/default_generator.json --resume
	$(BIN)/cytodiffusion train results/default-data/cells.csv -o results/default-slides \
		--init results/default-drawing --settings scripts/default_laboratory.json --resume
	test -f results/default-fields-first/fields.csv || $(BIN)/python -m scripts.default_data.photographed_fields \
		$(FIELDS) results/default-fields-first --method watershed
	$(BIN)/cytodiffusion train $(PBC) -o results/default-outlines --init results/default-slides \
		--settings scripts/default_segmenter_first.json --resume \
		--set photographs=results/default-fields-first
	test -f results/default-fields/fields.csv || $(BIN)/python -m scripts.default_data.photographed_fields \
		$(FIELDS) results/default-fields --method network --model results/default-outlines
	$(BIN)/cytodiffusion train $(PBC) -o results/default-whole --init results/default-outlines \
		--settings scripts/default_segmenter.json --resume --set photographs=results/default-fields

clean:
	rm -rf results .pytest_cache .mypy_cache .ruff_cache
