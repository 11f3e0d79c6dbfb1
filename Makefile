# The two commands of the README: `make demo` and `make test`. Everything they need beyond Rust and
# Python 3.11 they install themselves, into .venv/ and target/.

PYTHON ?= python3
VENV := $(CURDIR)/.venv/bin/python
DENY := target/tools/bin/cargo-deny
# Tests that wait more than they work.
E2E_AT_ONCE ?= 6
export PYTHONPATH := tests/aws
# Every cargo command names the whole workspace: with fewer crates, features differ and half of the tree
# is compiled again.
ALL := --workspace --locked

.PHONY: demo demo-stop test aws build lint deny unit e2e emulator-test schema-test venv

## The main job: a bad and a good release through CodeDeploy's hook, on this machine. KEEP=1 leaves it running.
demo: venv build
	@KEEP=$(KEEP) target/debug/demo

## Ends what `make demo KEEP=1` left running.
demo-stop:
	@if [ -f target/demo.pids ]; then kill $$(cat target/demo.pids); rm target/demo.pids; fi

## Everything CI runs.
test: lint build emulator-test schema-test unit e2e

## The emulated AWS by itself; any AWS CLI or SDK can use it by AWS_ENDPOINT_URL (tests/aws/README.md).
aws: venv
	@echo "AWS_ENDPOINT_URL=http://127.0.0.1:4566 AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=anything AWS_SECRET_ACCESS_KEY=emulated"
	@$(VENV) -m emulated_aws --port 4566

build:
	cargo build $(ALL)

lint: deny
	cargo fmt --all --check
	cargo clippy $(ALL) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(ALL) --no-deps --document-private-items

deny: $(DENY)
	$(DENY) --workspace check bans licenses sources

$(DENY):
	cargo install cargo-deny --locked --version 0.20.2 --root target/tools

unit: build
	cargo test $(ALL) --lib --bins --test bad --test golden --test life --test misbehaviour --test schema \
		--test stat --test workspace

e2e: venv build
	cargo test $(ALL) --test e2e -- --test-threads=$(E2E_AT_ONCE)

emulator-test: venv
	$(VENV) -m pytest -q tests/aws/selftest

schema-test: venv
	$(VENV) -m pytest -q tests/schema

venv: .venv/installed

.venv/installed: tests/aws/requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --requirement tests/aws/requirements.txt
	touch $@
