# The two commands of the README: `make demo` and `make test`. Everything they need beyond Rust and
# Python 3.11 they install themselves, into .venv/ and target/.

PYTHON ?= python3
VENV := .venv/bin/python
export PYTHONPATH := tests/aws
# One set of features for every build, or cargo compiles half of the tree twice.
CARGO := cargo
export CARGO_TERM_COLOR ?= auto

.PHONY: demo demo-stop test aws build lint unit e2e emulator-test docs-test deny venv clean

## The main job: a bad and a good release through CodeDeploy's hook, on this machine. KEEP=1 leaves it running.
demo: venv build
	@KEEP=$(KEEP) target/debug/demo

## Ends what `make demo KEEP=1` left running.
demo-stop:
	@if [ -f target/demo.pids ]; then kill $$(cat target/demo.pids); rm target/demo.pids; fi

## Everything CI runs.
test: venv lint build unit emulator-test

## The emulated AWS by itself; use it from any AWS CLI or SDK by AWS_ENDPOINT_URL.
aws: venv
	@$(VENV) -m emulated_aws --port 4566

build:
	$(CARGO) build --workspace --locked

lint: deny
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked

unit: venv build
	$(CARGO) test --workspace --locked

emulator-test: venv
	$(VENV) -m pytest -q tests/aws/selftest

venv: .venv/installed

.venv/installed: tests/aws/requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --requirement tests/aws/requirements.txt
	touch $@
