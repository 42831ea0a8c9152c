# SPDX-License-Identifier: GPL-3.0-or-later
VENV ?= .venv
export PATH := $(abspath $(VENV))/bin:$(PATH):/usr/sbin:/sbin

.DEFAULT_GOAL := help
WITHOVNK = ansible-playbook -i inventory/withovnk -e images=$(or $(IMAGES),build)

.PHONY: help bare down withovnk withovnk-down test-withovnk prepare prepare-withovnk prepare-test prepare-kernels test lint unit netns molecule sanity test-kernels bench clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

bare: prepare  ## Build the lab, show the fault, cure it (STRATEGY=source for another), prove it
	ansible-playbook playbooks/bare.yml $(if $(STRATEGY),-e strategy=$(STRATEGY)) $(if $(BACKEND),-e lab_backend=$(BACKEND))

down: prepare  ## Take the lab away
	ansible-playbook playbooks/down.yml $(if $(BACKEND),-e lab_backend=$(BACKEND))

withovnk: prepare-withovnk  ## A kind cluster with OVN-Kubernetes: the fault, the cure, the proof (IMAGES=pull|build)
	$(WITHOVNK) playbooks/withovnk.yml $(if $(STRATEGY),-e strategy=$(STRATEGY))

withovnk-down: prepare  ## Take the cluster away
	$(WITHOVNK) playbooks/withovnk_down.yml

test-withovnk: prepare-test prepare-withovnk  ## The molecule scenario on a cluster; the first time makes the images
	$(WITHOVNK) playbooks/images.yml
	tests/scenarios withovnk

prepare-withovnk: prepare
	@scripts/prepare $(VENV) requirements.txt mmdebstrap:mmdebstrap
	@scripts/dockerd

prepare:
	@scripts/prepare $(VENV) requirements.txt

prepare-test:
	@scripts/prepare $(VENV) requirements-test.txt git:git openssh-server:sshd openssh-client:ssh shellcheck:shellcheck

test: prepare-test lint unit netns molecule sanity  ## Everything: lint, unit, network namespaces, molecule, sanity

lint: prepare-test  ## Style, types, roles, docs
	tests/lint

unit: prepare-test  ## Tests that need neither root nor a kernel
	python -m pytest tests/unit

netns: prepare-test  ## Tests with packets in network namespaces (root)
	python -m pytest tests/netns

molecule: prepare-test  ## Every molecule scenario
	tests/scenarios

sanity: prepare-test  ## ansible-test sanity on the built artifact
	tests/sanity

prepare-kernels: prepare-test
	@scripts/prepare $(VENV) requirements-test.txt qemu-system-x86:qemu-system-x86_64 busybox-static:busybox kmod:depmod \
		openvswitch-switch:ovs-vswitchd

test-kernels: prepare-kernels  ## The matrix and more on stock Debian kernels under qemu
	python -m pytest -q -p no:cacheprovider tests/kernels/selftest.py
	python -m tests.kernels --job all

bench: prepare-test  ## Ratios against the floors; no pass or fail
	python -m pytest bench -s --no-header -q -p no:cacheprovider

clean:  ## Remove what make made here
	rm -rf .venv .cache .ansible build reports
