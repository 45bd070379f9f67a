# SPDX-License-Identifier: GPL-2.0
#
# What a user types. How the module itself is built stands in Kbuild.

.DEFAULT_GOAL := module
build := build/module
vm := tools/testing/vm/vm

# The build is out of source: $(build) gets everything that it makes.
ifdef KDIR
in_root :=
kbuild = $(MAKE) -C $(KDIR) M=$(CURDIR) MO=$(CURDIR)/$(build)
kernel_release = $(shell cat $(KDIR)/include/config/kernel.release)
else
in_root := tools/env/in-root
# The prepared tree has no vmlinux to make BTF with, which Kbuild would say for each module.
kbuild = $(in_root) make --silent -j$(shell nproc) -C /kernel M=/src MO=/src/$(build) \
	CONFIG_DEBUG_INFO_BTF_MODULES=
kernel_release = $(firstword $(shell tools/env/kernel-version))
endif

# M= on the command line would otherwise reach Kbuild, where it means something else.
MAKEOVERRIDES :=
under_test = $(if $(filter c,$(M)),c,rust)
needs_module = $(if $(filter c,$(M)),,module)

.PHONY: module
module: ## build build/module/ip_vs.ko and its stand-ins; KDIR=DIR: with your own kernel tree and compilers
	@mkdir -p $(build)
	@$(kbuild) modules

# With clang, as that kernel, and with line numbers for its reports.
.PHONY: module-debug
module-debug: ## build build/module-debug/ip_vs.ko, for test-debug and "vm --kernel debug"
	@mkdir -p build/module-debug
	@tools/env/in-root --debug-kernel make --silent -j$(shell nproc) LLVM=-19 -C /kernel \
		M=/src MO=/src/build/module-debug KRUSTFLAGS=-Cdebuginfo=2 modules

.PHONY: install
install: module ## install it for the kernel it was built for, under INSTALL_MOD_PATH if set
	@tools/env/install-module $(build) $(kernel_release) '$(INSTALL_MOD_PATH)'

.PHONY: run
run: $(needs_module) ## show it at work in a virtual machine; M=c: the kernel's own module
	@$(vm) -- env MODULE=$(under_test) tools/testing/demo/demo

.PHONY: shell
shell: $(needs_module) ## a prompt in that machine; M=c: with the kernel's own module
	@$(vm) --interactive -- env MODULE=$(under_test) tools/testing/demo/demo --shell

.PHONY: check
check: ## format, lints, panics and host tests: a minute, for before each commit
	@tools/testing/check

.PHONY: test
test: ## run all checks and tests; T=REGEX: selftests by name, M=c|rust: by module
	@tools/testing/vm/test-all $(if $(T),--only '$(T)') $(if $(M),--module $(M))

.PHONY: test-debug
test-debug: ## run them on a kernel that looks for bugs; T= and M= as above
	@tools/testing/vm/test-all --kernel debug $(if $(T),--only '$(T)') $(if $(M),--module $(M))

# SECONDS, N and SEED reach the test by its environment; a seed that it is not given it draws.
kernel = $(if $(KERNEL),$(KERNEL),stock)
hunt = $(vm) --kernel $(kernel) --timeout $(1) -- env MODULE=$(under_test) SEED=$(or $(SEED),random)
needs_module_of_kernel = $(if $(filter c,$(M)),,$(if $(filter debug,$(kernel)),module-debug,module))
soak_seconds = $(or $(SECONDS),300)

.PHONY: soak
soak: $(needs_module_of_kernel) ## everything at once; SECONDS=300, SEED=, M=c|rust, KERNEL=stock|debug
	@$(call hunt,$$(($(soak_seconds) * 3 + 600))) SECONDS=$(soak_seconds) \
		tools/testing/selftests/soak.py

.PHONY: fuzz-kernel
fuzz-kernel: $(needs_module_of_kernel) ## N=10000 requests and packets by chance; SEED=, M=, KERNEL=
	@for test in netlink packets; do \
		$(call hunt,$$(($(or $(N),10000) / 5 + 600))) N=$(or $(N),10000) \
			tools/testing/selftests/fuzz_$$test.py || exit; done

.PHONY: differential
differential: $(needs_module_of_kernel) ## do N=5000 operations by chance on both modules, and compare; SEED=, KERNEL=
	@$(call hunt,$$(($(or $(N),5000) / 10 + 600))) N=$(or $(N),5000) \
		tools/testing/differential/differential.py

.PHONY: differential-packets
differential-packets: $(needs_module_of_kernel) ## send N=12000 packets by chance through both, and compare; SEED=, KERNEL=
	@$(call hunt,$$(($(or $(N),12000) / 10 + 900))) N=$(or $(N),12000) \
		tools/testing/selftests/packets_differential.py

.PHONY: differential-choices
differential-choices: $(needs_module_of_kernel) ## N=100000 arrivals at each scheduler of both, choices compared; SEED=, SCHEDULER=, KERNEL=
	@$(call hunt,$$(($(or $(N),100000) / 50 + 900))) N=$(or $(N),100000) SCHEDULER='$(SCHEDULER)' \
		tools/testing/selftests/choices_differential.py

# With a clock that counts instructions: what takes minutes there takes seconds here.
.PHONY: differential-scenarios
differential-scenarios: module ## N=20 scenarios that take minutes on both modules, each step compared; SEED=, SCENARIO=
	@$(vm) --icount --timeout $$(($(or $(N),20) * 120 + 1200)) -- env MODULE=rust \
		SEED=$(or $(SEED),random) N=$(or $(N),20) SCENARIO=$(SCENARIO) \
		tools/testing/selftests/scenarios_differential.py

.PHONY: fault-injection
fault-injection: KERNEL = debug
fault-injection: $(if $(filter c,$(M)),,module-debug) ## each allocation fails once, on the kernel that looks for bugs
	@for test in faults faults_conntrack; do \
		$(call hunt,900) tools/testing/selftests/$$test.py || exit; done

.PHONY: fuzz
fuzz: ## search for bytes that ipvs_core can't take; FUZZ_ARGS='--seconds 60 ipv4': how long, what
	@tools/testing/fuzz/fuzz $(FUZZ_ARGS)

.PHONY: mutants
mutants: ## change ipvs_core in one place after another: do its tests notice? MUTANTS_ARGS='--since main'
	@tools/testing/mutants/mutants $(MUTANTS_ARGS)

.PHONY: bench
bench: module ## measure it against the kernel's own module
	@tools/testing/bench/bench $(BENCH_ARGS)

.PHONY: fmt-check
fmt-check: ## is the Rust code formatted as the kernel's?
	@tools/env/checks rustfmt

.PHONY: clippy
clippy: ## what Clippy says about the module and about ipvs_core
	@tools/env/checks clippy clippy-core

.PHONY: clean
clean: ## remove what was built here; the cache stays
	@rm -rf build

.PHONY: update
update: ## take the newest kernel and packages, and drop what they supersede from the cache
	@tools/env/update

.PHONY: help
help: ## this list
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
