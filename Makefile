VERSION ?= 0.1.0
LDFLAGS  = -s -w -X main.version=$(VERSION)
GO       = CGO_ENABLED=0 go
COMMANDS = rendezvous edgeagent simplebit natlab
# What routers, boards and servers run: GOOS/GOARCH and the variant.
TARGETS  = mipsle:GOMIPS=softfloat mips:GOMIPS=softfloat arm:GOARM=5 arm64: amd64:
# Real torrents with their content, as input for tests; `make deps` fetches them.
FIXTURES = SIMPLEBIT_FIXTURES=$(or $(SIMPLEBIT_FIXTURES),$(wildcard $(CURDIR)/.cache/fixtures/package))
# Packages whose tests need no network of their own: run again under the race detector.
UNITS    = $(shell go list ./... | grep -v -e /integration -e /cmd/natlab)

.PHONY: build run demo test check bench bench-delay bench-swarm nat-matrix soak cross fuzz update-golden deps clean

build: ## static, stripped binaries in bin/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(COMMANDS:%=./cmd/%)

run: build ## a surrogate and one joined agent, saving to ./downloads
	@sh deploy/run.sh

demo: build ## a real download in networks of its own, end to end
	$(GO) run ./integration/demo

test: ## every test; integration tests use the real clients that `make deps` installs
	$(FIXTURES) go test -timeout 20m ./...

check: cross ## formatting, vet, staticcheck, tidy modules, races, all architectures
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w on these files'; exit 1; }
	go vet ./...
	go tool -modfile=tools.mod staticcheck -checks=all ./...
	go mod tidy -diff
	$(FIXTURES) go test -race -timeout 15m $(UNITS)

bench: ## time, CPU and memory of one transfer by seven clients and by as little as there can be; the table goes to docs/performance.md
	go run ./integration/bench transfer --runs 3 --size 1024 -o docs/performance.md

bench-delay: ## the delay that uTP causes in a queue, and what it leaves to TCP; the table goes to docs/performance.md
	go run ./integration/bench delay -o docs/performance.md

soak: ## a uTP flow of 50 MiB/s for ten minutes; the figures go to docs/performance.md
	go run ./integration/bench soak -o docs/performance.md

bench-swarm: ## a swarm of twelve clients on slow links, for ten minutes; the table goes to docs/performance.md
	go run ./integration/bench swarm --runs 3 -o docs/performance.md

nat-matrix: build ## every pair of NATs between two agents, in 20 to 40 minutes; the table goes to docs/nat-matrix.md
	bin/natlab matrix --out docs/nat-matrix.md

cross: ## the commands build for every architecture; 32-bit mistakes are vetted
	@for t in $(TARGETS); do \
		echo "build linux/$${t%%:*}"; \
		env $${t#*:} GOARCH=$${t%%:*} $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o /dev/null ./cmd/... || exit 1; \
	done
	GOARCH=arm $(GO) vet ./wire/... ./edgeagent/... ./nat/... ./cmd/edgeagent

fuzz: ## every fuzz target for FUZZTIME
	@for p in $$(go list ./...); do \
		for f in $$(go test -list '^Fuzz' $$p | grep ^Fuzz); do \
			echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(or $(FUZZTIME),20s) -fuzzminimizetime 1x $$p || exit 1; \
		done; \
	done

update-golden: ## rewrite the golden files of tests that have them; review the diff as behaviour
	go test ./cmd/simplebit ./rendezvous/tracker ./rendezvous/dht ./edgeagent/picker ./edgeagent/choker ./wire/utp ./nat/stun ./nat/portmap ./nat/discovery ./nat/punch ./rendezvous/broker -update

deps: ## the programs that tests and the demo run, by apt where root
	@sh .ci/deps

clean:
	rm -rf bin .run
