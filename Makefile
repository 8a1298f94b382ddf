# smartvm: run `make help` for what there is.
.POSIX:
.PHONY: help hello kvm build generate test lab-test lab-shell verified fuzz bench cover check lint fmt vet tidy cross vuln shellcheck clean

GO = go
VERSION = $$(git describe --tags --always --dirty 2>/dev/null || echo devel)
TOOLS = $(CURDIR)/.cache/bin
FUZZTIME = 10s
ARGS =
LAB = ./lab/e2e

##@ Use

help: ## show this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

hello: kvm build ## boot a real microVM that prints its greeting; brings all it needs
	@bin/smartvm run hello --firecracker "$$(scripts/get-firecracker)"

kvm:
	@scripts/check-kvm

build: ## build bin/smartvm
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X github.com/smartvm/smartvm/internal/cli.version=$(VERSION)" -o bin/ ./cmd/smartvm

##@ Test

test: ## run the tests, with real boots where KVM is usable; brings all it needs (ARGS='-run X ./pkg')
	@scripts/test $(ARGS)

lab-test: ## run the tests with Linux guests in an emulated machine (ARGS='-v -run X', LAB=./pkg)
	@scripts/lab test -machines 2 -timeout 20m $(ARGS) $(LAB)

lab-shell: ## a shell in that machine
	@scripts/lab shell $(ARGS)

verified: ## run all tests with Linux guests and write down what they prove: docs/verified.md
	@scripts/lab verify -machines 2 -timeout 20m $(ARGS)

fuzz: ## run each fuzz target for FUZZTIME (10s)
	@scripts/fuzz $(FUZZTIME)

bench: ## measure against the raw floor of the same run; prints ratios, writes bench.json (ARGS='-quick')
	@$(GO) run ./bench -firecracker "$$(scripts/get-firecracker)" -json bench.json $(ARGS)

cover: ## show how much of each package the tests reach
	@mkdir -p .cache
	@scripts/test -coverpkg=./... -coverprofile=.cache/coverage.out ./...
	@$(GO) tool cover -func=.cache/coverage.out | tail -n 1

##@ Check

check: lint vet tidy cross vuln shellcheck test ## everything that has to hold before a change is handed in

lint: $(TOOLS)/golangci-lint ## format and lint rules of .golangci.yml (the first run builds the linter: minutes)
	@$(TOOLS)/golangci-lint fmt --diff
	@$(TOOLS)/golangci-lint run --allow-parallel-runners ./...
	@cd tools && $(TOOLS)/golangci-lint run --allow-parallel-runners ./...

fmt: $(TOOLS)/golangci-lint ## rewrite the Go files in the house format
	@$(TOOLS)/golangci-lint fmt

vet: ## go vet, for this system
	@$(GO) vet ./...

tidy: ## see that go.mod and go.sum say what the code needs
	@$(GO) mod tidy -diff
	@cd tools && $(GO) mod tidy -diff

cross: ## vet for another processor, and what is pure for a system without KVM
	@GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) vet ./errcode ./firecracker/... ./vmconfig ./internal/strict ./internal/stage ./internal/privdir
	@GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) vet ./...

vuln: ## look for known vulnerabilities that our code can reach
	@$(GO) -C tools test ./...
	@$(GO) -C tools run ./vulncheck $(CURDIR)

shellcheck: ## check the shell scripts, where shellcheck is installed
	@if command -v shellcheck >/dev/null; then shellcheck scripts/* .ci/run; \
	else echo "skipped: shellcheck is not installed" >&2; fi

##@ Maintain

generate: ## rebuild the files that are made from others (needs binutils)
	@scripts/get-tools as:binutils
	$(GO) generate ./...

clean: ## remove what was built here; fetched tools in .cache stay
	rm -rf bin .cache/coverage.out

# Linters are a module of their own, so that their hundreds of dependencies never become ours.
$(TOOLS)/golangci-lint: tools/go.mod tools/go.sum
	@GOBIN=$(TOOLS) $(GO) -C tools install github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $@
