# Everything that is done with this repository, by name. `make` lists it.

# What is expensive to make is kept per user, and serves every clone.
CACHE   := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/longtask
# What belongs to this clone.
BUILD   := $(CURDIR)/.cache
CLUSTER := $(BUILD)/cluster

# A KUBECONFIG that is set wins. Else it is the cluster that `make cluster-up` starts.
KUBECONFIG ?= $(CACHE)/kubeconfig
export KUBECONFIG
# kubectl and helm of the versions that the tests are made for.
export PATH := $(CACHE)/bin:$(PATH)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Cluster

.PHONY: tools cluster-up cluster-down cluster-purge cluster-status
tools: $(CLUSTER) ## install what is missing: packages, Kubernetes (6 minutes, once), kubectl, helm
	@$(CLUSTER) tools

cluster-up: $(CLUSTER) ## start a cluster or repair it: KUBECONFIG's, else kind's, else one of its own
	@$(CLUSTER) up

cluster-down: $(CLUSTER) ## stop the cluster; its objects and images stay for the next start
	@$(CLUSTER) down

cluster-purge: $(CLUSTER) ## stop the cluster and remove its data
	@$(CLUSTER) down --purge

cluster-status: $(CLUSTER) ## say what of the cluster runs
	@$(CLUSTER) status

CLUSTER_SOURCES := $(shell find tests/cluster/cmd/cluster tests/cluster/internal -name '*.go' 2>/dev/null) tests/cluster/go.mod
$(CLUSTER): $(CLUSTER_SOURCES)
	@echo "building the cluster tool"
	@CGO_ENABLED=0 go build -C tests/cluster -trimpath -ldflags "-X main.module=$(CURDIR)/tests/cluster" -o $@ ./cmd/cluster

# Targets to come, each in a part of its own: build, test, lint and generate;
# images; e2e; demo; bench.
