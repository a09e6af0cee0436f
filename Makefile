# routelet: every target installs what it needs on a fresh Debian with Node, npm and make, as root, and nothing the second
# time. `make help` lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

BUN := node_modules/.bin/bun
DENO := node_modules/.bin/deno
ARCH := $(subst aarch64,arm64,$(subst x86_64,x64,$(shell uname -m)))
BINARY := dist/routelet-linux-$(ARCH)
SOURCES := $(shell find src plugins.d package.json package-lock.json scripts/build.ts scripts/run.ts scripts/source.ts scripts/types.ts -type f 2>/dev/null)

# Where relative paths of `make lab` start: the folder that make was called from, also with `make -C`.
CALLER := $(if $(filter -C% --directory%,$(shell tr '\0' ' ' 2>/dev/null </proc/$$PPID/cmdline)),$(or $(PWD),$(CURDIR)),$(CURDIR))
TOPOLOGY ?=
SCRIPT ?=
OUT ?=
TIMEOUT ?= 300
export TOPOLOGY SCRIPT OUT TIMEOUT

##@ Use
.PHONY: demo
demo: $(BINARY) setup-lab ## Show it at work: three nodes, three pods, Services through IPVS
	@cd examples/first-guide && TOPOLOGY=topology.yaml SCRIPT=demo OUT=../../.cache/demo ../../test/lab/run

.PHONY: build
build: dist/routelet-linux-x64 dist/routelet-linux-arm64 ## Build the executables into dist/

dist/routelet-linux-%: $(SOURCES) | setup
	@$(BUN) scripts/build.ts $*

.PHONY: image
image: build ## Build the image into dist/, an OCI archive for amd64 and arm64, without a container engine
	@$(BUN) scripts/image/main.ts

.PHONY: lab
lab: $(BINARY) setup-lab ## Run SCRIPT in a cluster: TOPOLOGY=file.yaml SCRIPT=file OUT=dir [TIMEOUT=seconds]
	@scripts/lab "$(CALLER)"

##@ Develop
.PHONY: check
check: setup ## Format, lint, types, direction of imports, size of files
	@$(DENO) fmt --check
	@$(DENO) lint
	@node_modules/.bin/tsc -p .
	@$(BUN) scripts/check-imports.ts
	@echo "check: all good"

.PHONY: test
test: $(BINARY) setup-tests ## All tests; the last line is "N passed, N failed"
	@$(BUN) scripts/test.ts

.PHONY: soak
soak: $(BINARY) setup-tests ## The tests in the lab, with those that `make test` has no time for; a million mutated BGP messages
	@FUZZ=1000000 $(BUN) test --timeout 1200000 ./test/unit/plugins/router/bgp/fuzz.test.ts
	@SOAK=1 $(BUN) scripts/test.ts e2e

.PHONY: unit
unit: setup ## Unit tests alone: seconds, no root
	@$(BUN) scripts/test.ts unit

.PHONY: contract
contract: setup-lab ## The contract suites: fake and real Linux
	@$(BUN) scripts/test.ts contract

.PHONY: e2e
e2e: $(BINARY) setup-tests ## End-to-end tests in the lab
	@$(BUN) scripts/test.ts e2e

.PHONY: bench
bench: $(BINARY) setup-lab ## Benchmarks, as ratios against the best known tools
	@bench/run

.PHONY: format
format: setup ## Format everything
	@$(DENO) fmt --quiet

.PHONY: docs
docs: setup ## Write the reference pages that come from the code
	@$(BUN) scripts/docs.ts

.PHONY: captures
captures: $(BINARY) setup-lab ## Write docs/captures.md from what commands print in the lab
	@CAPTURES=1 $(BUN) test --timeout 300000 test/e2e/see.test.ts -t "see why"

.PHONY: pictures
pictures: ## Take the pages' pictures of the live page anew, in a headless Chromium
	@scripts/setup browser
	@UI_SHOTS=.cache/pictures $(BUN) test --timeout 120000 test/e2e/ui.test.ts
	@cp .cache/pictures/services.png .cache/pictures/policies.png docs/images/

##@ Machine
.PHONY: setup
setup: ## Install npm packages where they are missing or outdated
	@scripts/setup

.PHONY: setup-lab
setup-lab:
	@scripts/setup lab

.PHONY: setup-tests
setup-tests:
	@scripts/setup lab browser

.PHONY: lab-kernel
lab-kernel: ## Build the lab's own Linux once (about 6 minutes): everything in one kernel
	@test/lab/kernel/build

.PHONY: clean
clean: ## Remove what was built
	@rm -rf dist coverage

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
