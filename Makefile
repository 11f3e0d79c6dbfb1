# The two commands of the README: `make demo` and `make test`. Everything they need beyond Rust and
# Python 3.11 they install themselves, into .venv/ and target/.

PYTHON ?= python3
VENV := $(CURDIR)/.venv/bin/python
DENY := target/tools/bin/cargo-deny
FUZZ := target/tools/bin/cargo-fuzz
PEERS := target/peers
FUZZ_RUN := PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo +nightly fuzz run --fuzz-dir fuzz --target-dir target/fuzz
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
# How long `make fuzz` looks for trouble with each target, and `make replicas` asks (there unsaid: 180).
SECONDS ?= 60
# How often `make crash` kills gate; SEED has it do the same again, in another order.
KILLS ?= 200
SEED ?= 1
# How long `make soak` lasts.
MINUTES ?= 60
# Tests that wait more than they work; with six at once on two cores, gate is now and then short of CPU.
E2E_AT_ONCE ?= 4
# Emulators the self-test of the emulated AWS runs at once; each takes two seconds of a processor to start.
EMULATORS_AT_ONCE ?= 4
export PYTHONPATH := tests/aws
# Every cargo command names the whole workspace: with fewer crates, features differ and half of the tree
# is compiled again.
ALL := --workspace --locked
# Every test that is one file; those that are folders (e2e) are started by their own targets.
UNIT := $(basename $(notdir $(wildcard */tests/*.rs)))

.PHONY: demo demo-stop test aws build lint deny unit bench bench-judge bench-probe bench-probe-peers crash fuzz load replicas simulate soak e2e emulator-test schema-test venv

## The main job: a bad and a good release through CodeDeploy's hook, on this machine. KEEP=1 leaves it running.
demo: venv build
	@KEEP=$(KEEP) target/debug/demo

## Ends what `make demo KEEP=1` left running.
demo-stop:
	@if [ -f target/demo.pids ]; then kill $$(cat target/demo.pids); rm target/demo.pids; fi

## Everything CI runs.
test: lint build emulator-test schema-test unit e2e crash
	$(MAKE) replicas SECONDS=60

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
	cargo test $(ALL) --no-fail-fast --lib --bins $(UNIT:%=--test %)

## What evidence costs for an objective and tick.
bench:
	cargo bench -p policies --locked --bench evidence --bench run

## Any bytes into every parser of what comes from outside, SECONDS each. Needs a nightly compiler; `make unit` runs the
## checked-in corpora and variations of them without one.
fuzz: $(FUZZ_TARGETS:%=fuzz-%)

fuzz-%: $(FUZZ)
	@mkdir -p target/fuzz/corpus/$*
	$(FUZZ_RUN) $* target/fuzz/corpus/$* fuzz/corpus/$* -- -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=1024

$(FUZZ):
	cargo install cargo-fuzz --locked --version 0.13.2 --root target/tools

## The daemon on simulated time, killed and held up by seeded chance, in so many worlds; SEED=n lives one again.
SEEDS ?= 1000
simulate:
	SEEDS=$(SEEDS) cargo test $(ALL) --bin gate simulation::every -- --nocapture

## Kills gate with SIGKILL at every interesting point while it is asked, KILLS times, and counts on the last line what
## became of the questions; everything else goes to standard error. A third of a second for each kill.
crash:
	@cargo build $(ALL) 1>&2
	@KILLS=$(KILLS) SEED=$(SEED) target/debug/crash

## What 500 questions at once and 100 runs at once cost, and what is said beyond the limit: docs/benchmarks/load.md. Five
## minutes of two cores that have nothing else to do, after the release build.
load:
	cargo build --locked --release -p gate
	cargo run --locked -p tests --bin load --config profile.dev.package.tests.opt-level=2 -- \
		--gate target/release/gate --build release bench --page docs/benchmarks/load.md

## The same load for MINUTES: memory and descriptors must be flat: docs/benchmarks/soak.md.
soak:
	cargo build --locked --release -p gate
	MINUTES=$(MINUTES) cargo run --locked -p tests --bin load --config profile.dev.package.tests.opt-level=2 -- \
		--gate target/release/gate --build release soak --page docs/benchmarks/soak.md

e2e: venv build
	cargo test $(ALL) --test e2e -- --test-threads=$(E2E_AT_ONCE)

## Three gates on one queue and one table, killed, paused and stopped at random for SECONDS; SEED says how. The last line
## counts questions; all but what was asked and answered must be 0.
replicas: SECONDS = 180
replicas: venv build
	@SECONDS=$(SECONDS) SEED=$(SEED) target/debug/replicas

## The emulated AWS by its own tests: whole files at a time, since those of a file share what they set up; in order of
## their names, as the longest would come last by the number of tests.
emulator-test: venv
	$(VENV) -m pytest -q -n $(EMULATORS_AT_ONCE) --dist loadfile --no-loadscope-reorder tests/aws/selftest

schema-test: venv
	$(VENV) -m pytest -q tests/schema

## Gate's rule beside those of other systems on simulated releases: docs/benchmarks/judge.md. Minutes of all
## processors. Only here the simulation is optimised: `make test` should not compile its harness so slowly.
bench-judge:
	cargo run --locked -p tests --bin bench-judge --config profile.dev.package.tests.opt-level=2

## Gate's prober beside those that packages provide: docs/benchmarks/probe.md. A quarter of an hour on two
## cores that have nothing else to do. Only here the server is optimised: it must be faster than any tool.
bench-probe:
	cargo build --locked --release -p gate
	cargo run --locked -p tests --bin bench-probe --config profile.dev.package.tests.opt-level=2

## The others, on Debian and as root: what is absent is named in the page instead.
bench-probe-peers: $(PEERS)/bin/oha $(PEERS)/node_modules/.bin/autocannon
	apt-get install --yes --no-install-recommends hey nghttp2-client nginx prometheus-blackbox-exporter wrk

$(PEERS)/bin/oha:
	cargo install oha --locked --version 1.16.0 --root $(PEERS)

$(PEERS)/node_modules/.bin/autocannon:
	npm install --no-audit --no-fund --prefix $(PEERS) autocannon@9.0.0

venv: .venv/installed

.venv/installed: tests/aws/requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --requirement tests/aws/requirements.txt
	touch $@
