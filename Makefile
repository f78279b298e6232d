# Everything that is done with this repository, by name. `make` lists it.

# What is expensive to make is kept per user, and serves every clone.
CACHE   := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/longtask
# Tools that are built when they are needed first.
TYPOS := 1.52.0
ARGO_VERSION := v4.0.5
KUEUE_VERSION := v0.17.0
CYCLONEDX  := 0.5.9
MUTANTS    := 27.1.0
# Stores that the agent's tests run with.
MOTO       := 5.2.5
VERSITYGW  := v1.8.0
AZURITE    := 3.37.0
# What its saves and restores are measured beside.
RCLONE     := v1.76.0
AWSCLI     := 1.46.2
# A tool that works for a second need not be optimised for minutes, as its release profile would.
CARGO_INSTALL := env CARGO_PROFILE_DEV_DEBUG=false cargo install --quiet --locked --debug --root $(CACHE)
# Servers of stores that the tests start.
SERVERS := $(CACHE)/servers
# What belongs to this clone.
BUILD   := $(CURDIR)/.cache
# Where cargo puts what it builds for this machine: a folder for each profile.
BUILT    = $(or $(CARGO_TARGET_DIR),target)/$(shell rustc -vV | sed -n 's/^host: //p')
TOOL    := $(BUILD)/cluster
# Where the plugin of kubectl is installed.
PREFIX  ?= $(HOME)/.local

# `make demo CLUSTER=kind` or CLUSTER=local says which cluster. Else a KUBECONFIG that is set wins, and else it is the
# cluster that `make cluster-up` starts. A variable of that name in the environment is somebody else's.
ifeq ($(origin CLUSTER),command line)
export LONGTASK_CLUSTER := $(CLUSTER)
override KUBECONFIG := $(CACHE)/kubeconfig
endif
KUBECONFIG ?= $(CACHE)/kubeconfig
export KUBECONFIG
# kubectl, helm and servers of the versions that the tests are made for.
export PATH := $(BUILD):$(CACHE)/bin:$(SERVERS)/bin:$(PATH)
# The same for every build, vet and test of Go: what is compiled with other flags is compiled again. What debuggers read is not
# linked, so it is not made either.
export CGO_ENABLED := 0
export GOFLAGS := $(strip $(GOFLAGS) -trimpath -gcflags=all=-dwarf=false)

# Where rustup has not got the compiler that is pinned and may not fetch it, the one that it has does as well.
ifneq ($(shell command -v rustup),)
ifeq ($(shell cargo --version 2>/dev/null),)
export RUSTUP_TOOLCHAIN := $(firstword $(shell cd / && rustup default))
$(info the compiler of rust-toolchain.toml cannot be had: using $(RUSTUP_TOOLCHAIN))
endif
endif

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Cluster

.PHONY: tools cluster-up cluster-down cluster-purge cluster-status
tools: $(TOOL) ## install what is missing: packages, Kubernetes (about 8 minutes, once), kubectl, helm and others
	@$(TOOL) tools

cluster-up: $(TOOL) ## start a cluster or repair it: KUBECONFIG's, else kind's, else one of its own
	@$(TOOL) up

cluster-down: $(TOOL) ## stop the cluster; its objects and images stay for the next start
	@$(TOOL) down

cluster-purge: $(TOOL) ## stop the cluster and remove its data
	@$(TOOL) down --purge

cluster-status: $(TOOL) ## say what of the cluster runs
	@$(TOOL) status

CLUSTER_SOURCES := $(shell find tests/cluster/cmd/cluster tests/cluster/internal -name '*.go' 2>/dev/null) tests/cluster/go.mod
$(TOOL): $(CLUSTER_SOURCES)
	@echo "building the cluster tool"
	@go build -C tests/cluster -ldflags "-X main.module=$(CURDIR)/tests/cluster" -o $@ ./cmd/cluster

##@ Development

.PHONY: build install-plugin lint typos doc msrv deny sbom image reproducible generate unit moto stores release-check
build: ## build the program
	cargo build --locked

install-plugin: ## build the program and install it as a plugin of kubectl below PREFIX, by default ~/.local
	cargo build --locked --release
	install -d $(PREFIX)/bin
	install $(BUILT)/release/longtask $(PREFIX)/bin/longtask
	ln -sf longtask $(PREFIX)/bin/kubectl-longtask
	ln -sf longtask $(PREFIX)/bin/kubectl_complete-longtask
	$(PREFIX)/bin/kubectl-longtask man $(PREFIX)/share/man/man1

# In a folder of its own: while it compiles, nobody who waits for the tests' folder waits for it.
CLIPPY := tests/idle.sh env CARGO_TARGET_DIR=$(BUILD)/clippy cargo clippy --locked --quiet
lint: $(TOOL) typos ## check format, spelling and lints, warnings denied
	cargo fmt --check
	tests/pins.sh
	$(CLIPPY) --workspace --all-targets -- --deny warnings
	$(CLIPPY) --test admission --test e2e --test install --test simulation -- --deny warnings
	cd tests/cluster && test -z "$$(gofmt -l .)" && go vet ./internal/... ./cmd/cluster ./cmd/collector ./cmd/pause
	cd tests/argocd && test -z "$$(gofmt -l .)" && go vet ./...
	@$(TOOL) tools actionlint
	actionlint .github/workflows/*.yaml

# The package of PyPI has the built program; cargo would compile it for minutes. A machine without pip is not held up.
typos: export PIP_ROOT_USER_ACTION := ignore
typos: ## check spelling
	@command -v typos > /dev/null || { mkdir -p $(CACHE)/bin && \
		python3 -m pip install --quiet --target $(CACHE)/typos typos==$(TYPOS) && ln -sf ../typos/bin/typos $(CACHE)/bin/typos; } || \
		echo "SKIPPED: spelling is not checked, because pip could not install typos $(TYPOS). Other ways: https://github.com/crate-ci/typos"
	@! command -v typos > /dev/null || typos

doc: ## build the documentation of the code, private items too, warnings denied
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --workspace --no-deps --document-private-items

msrv: ## build with the oldest compiler that Cargo.toml promises; rustup has to have it
	cargo +$(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) build --locked --workspace

deny: ## check licences and sources of the dependencies; advisories need the network: cargo deny check advisories
	@command -v cargo-deny > /dev/null || { echo "building cargo-deny (once, some minutes)"; tests/idle.sh $(CARGO_INSTALL) cargo-deny; }
	cargo deny --log-level error check bans licenses sources

# Without a time and a path of its own, the same commit has the same list.
sbom: ## list what the program is made of: target/longtask.cdx.json (CycloneDX)
	@command -v cargo-cyclonedx > /dev/null || { echo "building cargo-cyclonedx (once, some minutes)"; $(CARGO_INSTALL) --version $(CYCLONEDX) cargo-cyclonedx; }
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) cargo cyclonedx --quiet --format json --spec-version 1.5 --override-filename longtask.cdx
	@mkdir -p target && sed 's|$(CURDIR)|/src|g' longtask.cdx.json > target/longtask.cdx.json && rm longtask.cdx.json
	@echo "$(CURDIR)/target/longtask.cdx.json"

image: $(TOOL) ## build the operator's image, and print where its archive is
	@$(TOOL) image build deploy/image.yaml

reproducible: $(TOOL) ## build the image of the last commit twice, in two folders, and compare (two release builds)
	@tests/reproducible.sh $(TOOL)

generate: tools ## write the files that are generated: definition, chart, manifests, API reference
	cargo run --quiet --locked -- crd longtasks > crds/longtask.dev_longtasks.yaml
	cargo run --quiet --locked -- crd longtasktemplates > crds/longtask.dev_longtasktemplates.yaml
	cargo run --quiet --locked -- crd longtasksets > crds/longtask.dev_longtasksets.yaml
	cargo run --quiet --locked -- crd taskqueues > crds/longtask.dev_taskqueues.yaml
	UPDATE_REFERENCE=1 cargo test --quiet --locked --test repository committed
	cp crds/longtask.dev_longtasks.yaml charts/longtask/files/crd.yaml
	cp crds/longtask.dev_longtasktemplates.yaml charts/longtask/files/crd-longtasktemplates.yaml
	cp crds/longtask.dev_longtasksets.yaml charts/longtask/files/crd-longtasksets.yaml
	cp crds/longtask.dev_taskqueues.yaml charts/longtask/files/crd-taskqueues.yaml
	helm template longtask charts/longtask --namespace longtask-system --set namespace.create=true > deploy/longtask.yaml
	helm-docs --chart-search-root=charts --sort-values-order=file --log-level=error
	UPDATE_SNAPSHOTS=1 cargo test --quiet --locked --test chart as_committed

unit: ## run the tests that need no cluster
	cargo test --locked --workspace --quiet
	tests/release_check_test.sh
	$(MAKE) --no-print-directory -C examples test
	cd tests/cluster && go test ./internal/... ./cmd/cluster
	cd tests/argocd && go test -count=1 ./... # go does not see that a file outside of the module has changed

moto: $(SERVERS)/bin/moto_server ## install the store of the stories
$(SERVERS)/bin/moto_server:
	@echo "installing moto"
	@mkdir -p $(@D) && python3 -m pip install --quiet --root-user-action ignore --target $(SERVERS)/moto 'moto[server]==$(MOTO)'
	@printf '#!/bin/sh\nPYTHONPATH=%s exec python3 -m moto.server "$$@"\n' $(SERVERS)/moto >$@ && chmod +x $@

$(SERVERS)/bin/versitygw:
	@echo "building versitygw"
	@GOBIN=$(@D) go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW)

$(SERVERS)/bin/azurite-blob:
	@echo "installing Azurite"
	@mkdir -p $(@D) && npm install --silent --no-fund --no-audit --prefix $(SERVERS)/azurite azurite@$(AZURITE)
	@ln -sf ../azurite/node_modules/.bin/azurite-blob $@

$(SERVERS)/bin/rclone:
	@echo "building rclone (once, some minutes)"
	@GOBIN=$(@D) go install github.com/rclone/rclone@$(RCLONE)

$(SERVERS)/bin/aws:
	@echo "installing awscli"
	@mkdir -p $(@D) && python3 -m pip install --quiet --root-user-action ignore --target $(SERVERS)/awscli awscli==$(AWSCLI)
	@printf '#!/bin/sh\nPYTHONPATH=%s exec python3 %s/bin/aws "$$@"\n' $(SERVERS)/awscli $(SERVERS)/awscli >$@ && chmod +x $@

# The keys are of servers that live as long as a test. Azurite's account is the one that it is made with.
stores: export AWS_ACCESS_KEY_ID := test
stores: export AWS_SECRET_ACCESS_KEY := not-a-secret
stores: export AZURE_STORAGE_ACCOUNT_NAME := devstoreaccount1
stores: export AZURE_STORAGE_ACCOUNT_KEY := Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==
stores: export GOOGLE_SERVICE_ACCOUNT_KEY := {"client_email":"","private_key":"","private_key_id":"","disable_oauth":true}
stores: $(SERVERS)/bin/moto_server $(SERVERS)/bin/versitygw $(SERVERS)/bin/azurite-blob ## run the agent's saves and restores with servers of S3 and Azure, and a stub of Google's
	cargo test --locked --test servers

release-check: ## check that this commit can be released as VERSION=x.y.z; RELEASE.md says how to go on
	@tests/release_check.sh $(VERSION)

.PHONY: simulation soak
simulation: ## run the real controllers against a simulated cluster, on virtual time: 200 seeds, or SEEDS=
	SEEDS=$(or $(SEEDS),200) tests/idle.sh cargo test --locked --test simulation

soak: ## the same, optimised, with 20000 seeds, or SEEDS=, from FIRST_SEED= on; prints the trace of a seed that fails
	SEEDS=$(or $(SEEDS),20000) cargo test --locked --profile simulation --test simulation no_seed -- --nocapture

# What survives with a reason is in .cargo/mutants.toml. What the scenarios miss is tried again with all the tests
# (`--iterate`). SHARD=0/8 runs an eighth, with all the tests at once: a second run would cut what is left into other shards.
# Which tests is said to each call of cargo (`--cargo-arg`): else all that there are would be built for every change.
MUTATE        = CARGO_TARGET_DIR=$(BUILD)/mutants cargo mutants --workspace --jobs 1 --output $(BUILD)
SCENARIOS    := --cargo-arg=--test=plan_scenarios
ALL_OF_RULES := --cargo-arg=--lib $(SCENARIOS) --cargo-arg=--test=plan_properties --cargo-arg=--test=simulate

.PHONY: mutants
mutants: ## change the rules of the plan one at a time, and see that a test notices each change: hours, or SHARD=k/n
	@test -x $(CACHE)/bin/cargo-mutants || { echo "building cargo-mutants (once, some minutes)"; $(CARGO_INSTALL) --version $(MUTANTS) cargo-mutants; }
	@mkdir -p $(BUILD)
ifdef SHARD
	$(MUTATE) $(ALL_OF_RULES) --shard $(SHARD)
else
	$(MUTATE) $(SCENARIOS) || [ $$? = 2 -o $$? = 3 ] # some are missed, or take too long
	$(MUTATE) $(ALL_OF_RULES) --iterate
endif

##@ On a cluster

# The operator's image with the programs that the tests have built, which is there much sooner than that of deploy/image.yaml (decision 0034).
OPERATOR := tests/images/operator.yaml
IMAGES := $(OPERATOR) $(addprefix tests/e2e/program/,image.yaml root.yaml user-1000.yaml) \
	$(addprefix examples/,import/image.yaml primes/image.yaml shell/image.yaml)

# What each stage of `make test` waits for. The long way leads from the cluster, for which Kubernetes is built, over the images to
# the stories: the tests are built with what that leaves of the cores. The stories have limits of time and mostly wait themselves.
# So lint and the simulation take what they leave, and the unit tests run beside those of the chart.
STAGES := cluster-up build-tests images:build-tests,cluster-up admission:build-tests,cluster-up tools:images moto:tools \
	lint:tools unit:tools simulation:unit chart:admission,images e2e:chart,unit,moto

.PHONY: test ci programs build-tests admission e2e kueue chart images demo demo-train demo-set demo-queue
test: ## everything: set up, lint, unit tests, simulation, end-to-end tests, the chart
	@tests/stages.sh $(STAGES)

ci: ## the same and licences: what continuous integration runs
	@tests/stages.sh $(STAGES) deny:lint

images: $(TOOL) ## build the images of the operator, not optimised, the test program and the examples, and put them on the cluster
	@$(TOOL) load $(IMAGES)

programs: ## build the programs as the tests run them, and the tests that need no cluster
	tests/idle.sh cargo test --locked --quiet --workspace --no-run

build-tests: programs ## build the programs and all tests
	tests/idle.sh cargo test --locked --quiet --test admission --test e2e --test install --test simulation --no-run

admission: ## ask the API server of that cluster what it takes and what it refuses; no pod runs
	cargo test --locked --test admission

e2e: $(TOOL) $(SERVERS)/bin/moto_server ## run the stories on that cluster; it needs the images
	@$(TOOL) tools collector
	@# The operator of a demo would work on the tasks of the tests as well. On a cluster of yours, the tests refuse.
	@if [ "$(KUBECONFIG)" = "$(CACHE)/kubeconfig" ]; then helm uninstall longtask -n longtask-system --ignore-not-found --wait; fi
	cargo test --locked --test e2e -- --skip alone:: --skip kueue:: --test-threads=$(or $(E2E_THREADS),10)
	cargo test --locked --test e2e -- alone:: --test-threads=1

# Tagged by version, so that a newer one is built anew. Its chart is in the module.
KUEUE := $(CACHE)/kueue-$(KUEUE_VERSION)
$(KUEUE):
	@echo "building Kueue (once, some minutes)"
	@rm -rf $@.part && GOBIN=$@.part go install -ldflags='-s -w' sigs.k8s.io/kueue/cmd/kueue@$(KUEUE_VERSION)
	@cp -r "$$(go env GOMODCACHE)/sigs.k8s.io/kueue@$(KUEUE_VERSION)/charts/kueue" $@.part/chart && chmod -R u+w $@.part && mv $@.part $@

kueue: export KUEUE := $(KUEUE)
kueue: tools cluster-up $(KUEUE) ## run the stories of quota with the real Kueue on that cluster, which it installs and removes again
	@$(TOOL) load tests/e2e/program/image.yaml tests/kueue/image.yaml
	tests/kueue/run.sh cargo test --locked --test e2e -- kueue::

chart: tools ## install, upgrade, roll back and uninstall the chart on that cluster; nothing else may run there meanwhile
	@if [ "$(KUBECONFIG)" = "$(CACHE)/kubeconfig" ]; then helm uninstall longtask -n longtask-system --ignore-not-found --wait; fi
	cargo test --locked --test install -- --test-threads=1

ARGO := $(CACHE)/argo-$(ARGO_VERSION)
ARGO_MODULE := github.com/argoproj/argo-workflows/v4
$(ARGO):
	@echo "building Argo Workflows, which is measured beside the operator (once, 8 minutes)"
	@rm -rf $@.part && mkdir -p $@.part
	@cd $@.part && go mod download -json $(ARGO_MODULE)@$(ARGO_VERSION) >module.json
	@cp -r "$$(cd $@.part && go list -m -f '{{.Dir}}' $(ARGO_MODULE)@$(ARGO_VERSION))" $@.part/source && chmod -R u+w $@.part/source
	@# The module has no signal_linux.go; its twin for Darwin serves.
	@cd $@.part/source/workflow/executor/osspecific && cp -n signal_darwin.go signal_linux.go
	@cd $@.part/source && go build -ldflags='-s -w' -o .. ./cmd/workflow-controller ./cmd/argoexec
	@mv $@.part/source/manifests/base/crds/minimal $@.part/crds && rm -r $@.part/source && mv $@.part $@

.PHONY: bench bench-micro
bench-micro: ## measure what one look at a task costs
	cargo bench --locked --bench micro

# The order is that of docs/benchmarks.md. RUNS=1 COUNT=200 tries it out.
RUNS  ?= 5
bench: export KWOK := $(CACHE)/bin/kwok
bench: export ARGO := $(ARGO)
bench: tools cluster-up images bench-micro $(ARGO) ## measure the operator beside the Job controller and Argo, on kwok (hours; RUNS=5); empties the local cluster
	@$(TOOL) tools kwok
	@$(TOOL) load deploy/image.yaml bench/argo/image.yaml
	cargo bench --locked --bench cluster -- evicted --runs $(RUNS)
	cargo bench --locked --bench cluster -- queued queued-admitted queued-at-a-time queued-jobs --runs $(RUNS) --count $(or $(COUNT),5000)
	cargo bench --locked --bench cluster -- start start-thin start-queued --runs $(RUNS) --count $(or $(COUNT),300)
	cargo bench --locked --bench cluster -- places breaker members --runs $(RUNS) --count $(or $(COUNT),1000)
	cargo bench --locked --bench cluster -- queue-waiting --runs $(RUNS) --count $(or $(COUNT),5000)
	cargo bench --locked --bench cluster -- chains chains-live chains-argo killed --runs $(RUNS) --count $(or $(COUNT),250)
	cargo bench --locked --bench cluster -- live waiting --runs $(RUNS) --count $(or $(COUNT),10000)
	cargo bench --locked --bench cluster -- reports --runs $(RUNS) --count $(or $(COUNT),10000)
	cargo bench --locked --bench cluster -- sets sets-job sets-argo --runs $(RUNS) --count $(or $(COUNT),10000)
	cargo bench --locked --bench cluster -- sets-killed --runs $(RUNS) --count $(or $(COUNT),500)
	cargo bench --locked --bench cluster -- lag pod-start --runs $(RUNS)
	cargo bench --locked --bench cluster -- report

# awscli, rclone and the agent take turns, and nothing else may run on the machine meanwhile. RUNS=1 PART=64 tries it out.
.PHONY: bench-store
bench-store: $(SERVERS)/bin/versitygw $(SERVERS)/bin/rclone $(SERVERS)/bin/aws ## measure saves and restores beside rclone and awscli (long, with 20 GiB of disk; RUNS=5)
	cargo build --locked --profile agent --package longtask-agent
	@mkdir -p $(BUILD)
	python3 bench/store/measure.py --agent $(BUILT)/agent/longtask-agent --programs $(SERVERS)/bin \
		--runs $(RUNS) --part $(or $(PART),1) --folder $(BUILD)

demo: $(TOOL) ## install the operator on a cluster and watch a real import survive an eviction, an operator restart and a lost node
	@tests/stages.sh cluster-up programs
	@$(TOOL) load $(OPERATOR) examples/import/image.yaml
	@examples/demo.sh

demo-train: $(TOOL) ## train a network with checkpoints of 50 MB in a store, kill three of its pods, and compare the weights
	@tests/stages.sh cluster-up programs
	@$(TOOL) load $(OPERATOR) examples/train/image.yaml examples/train/store/image.yaml
	@examples/train/demo.sh

demo-set: $(TOOL) ## survey each block of the Unicode standard as a member of a set: two fail, and go on with a mended image
	@tests/stages.sh cluster-up programs
	@$(TOOL) load $(OPERATOR) examples/survey/image-1.0.yaml examples/survey/image-1.1.yaml
	@examples/survey/demo.sh

demo-queue: $(TOOL) ## send 60 orders to a partner who goes down in the middle: the breaker of the queue opens, tries, and closes
	@tests/stages.sh cluster-up programs
	@$(TOOL) load $(OPERATOR) examples/partner/image.yaml
	@examples/partner/demo.sh
