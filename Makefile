# Everything lives in this folder: `make demo` and `make test` each set up what they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
OUT    ?= results/demo

.PHONY: demo gui test lint screenshots default-model smear-network laboratories generator-coarse generator-detail laboratories-out clean

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
	$(BIN)/cytodiffusion train results/default-data/cells.csv -o results/default-shape \
		--settings scripts/default_model_shape.json --resume
	$(BIN)/cytodiffusion train results/default-data/cells.csv -o results/default-drawing \
		--init results/default-shape --settings scripts/default_generator.json --resume
	$(BIN)/cytodiffusion train results/default-data/cells.csv -o results/default-slides \
		--init results/default-drawing --settings scripts/default_laboratory.json --resume
	$(MAKE) smear-network MODEL=results/default-slides

laboratories: $(STAMP)  ## the last training of the default model, on cells of all laboratories; MODEL is that of before
	test -f results/laboratories/cells.csv || $(BIN)/python -m scripts.default_data.laboratories \
		$(FIELDS) results/default-data/cells.csv results/laboratories
	$(BIN)/cytodiffusion train results/laboratories/cells.csv -o results/default-laboratories --resume \
		--init $(MODEL) --settings scripts/default_model_laboratories.json
	$(BIN)/cytodiffusion train results/laboratories/cells.csv -o results/default-all --resume \
		--init results/default-laboratories --settings scripts/default_slides.json

generator-coarse: $(STAMP)  ## the coarse picture of synthetic cells trained further, half an hour on one core; MODEL is what it goes on from
	test -f results/default-data/alone.csv || \
		$(BIN)/python -m scripts.default_data.alone results/default-data/cells.csv results/default-data/alone.csv
	$(BIN)/cytodiffusion train results/default-data/alone.csv -o results/default-coarse --resume \
		--init $(MODEL) --settings scripts/default_generator_coarse.json

generator-detail: $(STAMP)  ## the detail of synthetic cells against a critic, an hour on one core; MODEL is what it goes on from
	$(BIN)/cytodiffusion train results/default-data/cells.csv -o results/default-detail --resume \
		--init $(MODEL) --settings scripts/default_generator_detail.json

# each training goes on from the one before; its photographs are outlined by that one
MODEL ?= default
OUTLINE = $(BIN)/python -m scripts.default_data.photographed_fields $(FIELDS)
smear-network: $(STAMP)  ## half an hour on two cores; goes on where it was stopped
	test -f results/fields-1/fields.csv || $(OUTLINE) results/fields-1 --method watershed
	$(BIN)/cytodiffusion train $(PBC) -o results/outlines-1 --init $(MODEL) --resume \
		--settings scripts/default_segmenter_first.json --set photographs=results/fields-1
	test -f results/fields-2/fields.csv || \
		$(OUTLINE) results/fields-2 --method network --model results/outlines-1
	$(BIN)/cytodiffusion train $(PBC) -o results/outlines-2 --init results/outlines-1 --resume \
		--settings scripts/default_segmenter.json --set photographs=results/fields-2
	test -f results/fields-3/fields.csv || \
		$(OUTLINE) results/fields-3 --method network --model results/outlines-2
	$(BIN)/cytodiffusion train $(PBC) -o results/default --init results/outlines-2 --resume \
		--settings scripts/default_segmenter_colours.json --set photographs=results/fields-3

# what trains a model without each laboratory, and then scores it there; nothing is run
TABLES ?= results/laboratories
laboratories-out: $(STAMP)
	$(BIN)/python benchmarks/laboratories_out.py commands $(TABLES) -o results

clean:
	rm -rf results .pytest_cache .mypy_cache .ruff_cache
