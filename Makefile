# Two commands set everything up: `make run` runs the main job, `make test` passes the tests.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# pip's own list of folders with wheels, where one is set up: uv does not read pip's settings.
FIND_LINKS := $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)

.PHONY: run test test-fast check fmt bench faults-chain faults-data faults-training stop

run: $(VENV)/ready
	@$(BIN)/mmcore run $(ARGS)

# Two at a time, those of one file together: most tests use one core.
test: $(VENV)/ready-dev
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: $(VENV)/ready-dev
	$(BIN)/pytest -m "not chain and not bento and not gx and not evidently and not prefect and not ray and not s3"

check: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(VENV)/ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# An hour or so; leave the machine alone meanwhile.
bench: $(VENV)-bench/ready
	$(VENV)-bench/bin/python benchmarks

faults-chain: $(VENV)/ready-dev
	$(BIN)/python -m tests.faults.chain $(ARGS)

faults-data: $(VENV)/ready-dev
	$(BIN)/python -m tests.faults.data
	$(BIN)/python -m tests.faults.dirty
	$(BIN)/python -m tests.faults.archives

faults-training: $(VENV)/ready-dev
	$(BIN)/python -m tests.faults.training
	$(BIN)/python -m tests.faults.training_ranks $(ARGS)

stop:
	@$(BIN)/mmcore stop

$(VENV)/uv:
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check uv
	@touch $@

$(VENV)/ready: $(VENV)/uv requirements/lock.txt pyproject.toml
	@echo "Installing the packages of requirements/lock.txt into $(VENV) ..."
	@UV_FIND_LINKS="$(FIND_LINKS)" $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements/lock.txt -e .
	@touch $@

# The other libraries stay out of the project's own environment. Of those in peers.txt the packages are taken as they
# are: what torchvision requires would replace torch.
$(VENV)-bench/ready: $(VENV)/uv requirements/lock.txt requirements/bench.txt requirements/peers.txt
	@rm -rf $(VENV)-bench
	@$(PYTHON) -m venv $(VENV)-bench
	@UV_FIND_LINKS="$(FIND_LINKS)" $(BIN)/uv pip install --quiet --python $(VENV)-bench/bin/python -r requirements/lock.txt -r requirements/bench.txt -e .
	@$(BIN)/uv pip install --quiet --no-deps --python $(VENV)-bench/bin/python -r requirements/peers.txt
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements/dev.txt
	@UV_FIND_LINKS="$(FIND_LINKS)" $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements/lock.txt -r requirements/dev.txt -e .
	@touch $@
