# shunt. `make` alone lists the targets.
PREFIX ?= /usr/local
DESTDIR ?=
NODE := node_modules/.bin/node
RUN := $(NODE) --no-warnings
SOURCES := $(shell find src -type d -o -name '*.ts' -o -name '*.c' -o -name '*.h' 2>/dev/null)
BPF_DIR := src/agent/dataplane/xdp
BPF_SOURCES := $(BPF_DIR)/bpf $(wildcard $(BPF_DIR)/bpf/* $(BPF_DIR)/layout/*) scripts/bpf.ts $(wildcard scripts/bpf/*) src/os/bpf/object-file.ts

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

.PHONY: help setup bpf bpf-layouts build demo test test-unit test-lab sim bench bench-scale bench-dataplane bench-atoms mutate flows faults typecheck lint format coverage schema man install uninstall clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## install what is missing (packages as root, npm packages); does nothing when all is there
	@scripts/setup.sh

bpf: setup ## compile the programs for the kernel; fails when their memory is not as TypeScript knows it
	@$(MAKE) -s dist/bpf/.stamp

bpf-layouts: setup ## after a wanted change of a struct in BPF C: tell TypeScript of it
	@$(RUN) scripts/bpf.ts --accept

dist/bpf/.stamp: $(BPF_SOURCES)
	@test -x $(NODE) || { echo 'node_modules is missing; run: make setup' >&2; exit 1; }
	@$(RUN) scripts/bpf.ts

build: setup ## build the single executable, dist/shunt
	@$(MAKE) dist/shunt

dist/shunt: dist/bpf/.stamp $(SOURCES) scripts/build.ts package.json package-lock.json
	@test -x $(NODE) || { echo 'node_modules is missing; run: make setup' >&2; exit 1; }
	@$(RUN) scripts/build.ts

demo: build ## a whole cluster in network namespaces: start it, try it, remove it (needs root)
	@scripts/demo.sh

test: build ## everything: types, lint, build, unit and lab tests
	@$(MAKE) typecheck lint
	@SHUNT_LAB_BINARY=$(CURDIR)/dist/shunt $(RUN) scripts/test.ts

test-unit: bpf ## the tests that need neither root nor a network
	@$(RUN) scripts/test.ts unit

test-lab: build ## the tests in network namespaces (needs root)
	@SHUNT_LAB_BINARY=$(CURDIR)/dist/shunt $(RUN) scripts/test.ts lab

sim: setup ## health and load in virtual time: SEEDS=10000 for so many runs, SEED=7 for one
	@SEEDS=$(or $(SEEDS),1000) $(RUN) test/sim/health.test.ts

bench: build ## the benchmarks
	@$(RUN) bench/run.ts

bench-scale: build ## what control traffic costs with 10, 100 and 1,000 hosts (needs root)
	@$(RUN) bench/framing.ts
	@$(RUN) bench/health-scale.ts

bench-dataplane: build ## what a packet costs the data plane, beside what is used in its place (needs root)
	@$(RUN) bench/dataplane.ts
	@$(RUN) bench/first-packets.ts

bench-atoms: build ## what forwarders' memory of connections costs: table, wire, queries, CPU (needs root for half of it)
	@$(RUN) --expose-gc bench/atoms.ts

mutate: bpf ## damaged packets through the XDP data plane: PACKETS=1000000 (needs root)
	@SHUNT_MUTATIONS=$(or $(PACKETS),1000000) $(RUN) scripts/test.ts test/lab/xdp-mutations.test.ts

flows: bpf ## connections at once through the XDP data plane: FLOWS=100000 (needs root)
	@SHUNT_FLOWS=$(or $(FLOWS),100000) $(RUN) scripts/test.ts test/lab/many-flows.test.ts

faults: build ## what becomes of connections while each part fails, beside other balancers: FLOWS=10000 ACTIVE=200 REPEAT=5 (needs root, hours; ARGS=--quick)
	@SHUNT_LAB_BINARY=$(CURDIR)/dist/shunt $(RUN) bench/faults/run.ts $(ARGS)

typecheck: setup ## check the types
	@$(NODE) node_modules/typescript/bin/tsc -p tsconfig.json

lint: setup ## check style and common mistakes
	@$(NODE) node_modules/@biomejs/biome/bin/biome check --error-on-warnings --log-level=warn .

format: setup ## rewrite the sources in the project's style
	@$(NODE) node_modules/@biomejs/biome/bin/biome check --write .

coverage: bpf ## unit tests with a coverage report in coverage/
	@$(RUN) scripts/test.ts unit --coverage

schema: setup ## regenerate the schemas of the files and of the control API in schema/
	@$(RUN) scripts/schema.ts

man: setup ## regenerate man/
	@$(RUN) scripts/man.ts

install: dist/shunt ## install below PREFIX (DESTDIR is honoured)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 \
	  $(DESTDIR)$(PREFIX)/share/shunt $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 dist/shunt $(DESTDIR)$(PREFIX)/bin/shunt
	install -m 644 man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 man/*.5 $(DESTDIR)$(PREFIX)/share/man/man5
	install -m 644 schema/*.json packaging/*.example.yaml LICENSE LICENSING.md $(DESTDIR)$(PREFIX)/share/shunt
	sed 's|@PREFIX@|$(PREFIX)|' packaging/shunt.service > dist/shunt.service
	install -m 644 dist/shunt.service $(DESTDIR)$(PREFIX)/lib/systemd/system/shunt.service

uninstall: ## remove what install put there; configuration and state stay
	rm -f $(DESTDIR)$(PREFIX)/bin/shunt $(DESTDIR)$(PREFIX)/lib/systemd/system/shunt.service
	rm -f $(DESTDIR)$(PREFIX)/share/man/man1/shunt.1 $(DESTDIR)$(PREFIX)/share/man/man1/shunt-*.1 $(DESTDIR)$(PREFIX)/share/man/man5/shunt-*.5
	rm -rf $(DESTDIR)$(PREFIX)/share/shunt

clean: ## remove what was built (not node_modules)
	rm -rf dist coverage
