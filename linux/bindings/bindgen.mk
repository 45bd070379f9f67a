# SPDX-License-Identifier: GPL-2.0
#
# Bindings for what rust/bindings of the kernel leaves out. With
# `--no-recursive-allowlist` only the named items are emitted; every other type
# resolves through `kernel::bindings`, so that there is one `sk_buff` and one
# `net` in the module.

linux_bindgen_kernel_params := $(shell grep -Ev '^#|^$$' $(srctree)/rust/bindgen_parameters)
linux_bindgen_params := $(shell grep -Ev '^\#|^$$' $(src)/linux/bindings/bindgen_parameters)

ifdef CONFIG_CC_IS_CLANG
linux_bindgen_c_flags = $(c_flags)
else
# gcc flags that libclang does not know, as in rust/Makefile.
linux_bindgen_skip := -mno-fp-ret-in-387 -mpreferred-stack-boundary=% \
	-mskip-rax-setup -mindirect-branch=thunk-extern -mindirect-branch-register \
	-mfunction-return=thunk-extern -mrecord-mcount -mindirect-branch-cs-prefix \
	-mstack-protector-guard% -fconserve-stack -falign-jumps=% -falign-loops=% \
	-fno-ipa-cp-clone -fno-ipa-sra -fno-partial-inlining -fno-reorder-blocks \
	-fno-allow-store-data-races -fzero-call-used-regs=% -fno-stack-clash-protection \
	-fno-inline-functions-called-once -fsanitize=bounds-strict -fstrict-flex-arrays=% \
	-fmin-function-alignment=% -fzero-init-padding-bits=% --param=% --param asan-% \
	-fno-isolate-erroneous-paths-dereference -fdiagnostics-show-context%
linux_bindgen_c_flags = $(filter-out $(linux_bindgen_skip),$(c_flags)) -w --target=x86_64-linux-gnu
endif

quiet_cmd_linux_bindgen = BINDGEN [M] $@
      cmd_linux_bindgen = $(BINDGEN) $< $(linux_bindgen_args) --rust-target 1.85 \
	--use-core --with-derive-default --ctypes-prefix ffi --no-layout-tests \
	--no-debug '.*' --enable-function-attribute-detection -o $@ -- \
	$(filter-out $(CC_FLAGS_LTO),$(linux_bindgen_c_flags)) -fno-builtin \
	-D__BINDGEN__ -DMODULE -Wno-missing-prototypes $(linux_bindgen_post)

$(obj)/linux/bindings/bindings_generated.rs: private part-of-module := y
$(obj)/linux/bindings/bindings_generated.rs: private linux_bindgen_args = \
	$(linux_bindgen_kernel_params) --no-recursive-allowlist $(linux_bindgen_params)
$(obj)/linux/bindings/bindings_generated.rs: $(src)/linux/bindings/bindings_helper.h \
		$(src)/linux/bindings/bindgen_parameters FORCE
	$(call if_changed_dep,linux_bindgen)

$(obj)/linux/bindings/helpers_generated.rs: private part-of-module := y
$(obj)/linux/bindings/helpers_generated.rs: private linux_bindgen_args = \
	--blocklist-type '.*' --allowlist-var '' --allowlist-function 'rust_helper_.*'
$(obj)/linux/bindings/helpers_generated.rs: private linux_bindgen_post = ; \
	sed -Ei 's/pub fn rust_helper_([a-zA-Z0-9_]*)/\#[link_name="rust_helper_\1"]\n    pub fn \1/g' $@
$(obj)/linux/bindings/helpers_generated.rs: $(src)/linux/helpers/helpers.c FORCE
	$(call if_changed_dep,linux_bindgen)

targets += linux/bindings/bindings_generated.rs linux/bindings/helpers_generated.rs

# Kernels built with clang may inline the shims into Rust code as LLVM bitcode.
ifdef CONFIG_RUST_INLINE_HELPERS
quiet_cmd_linux_helper_bc = HELPER [M] $@
      cmd_linux_helper_bc = $(CC) $(c_flags) -Wno-missing-prototypes \
	-Wno-missing-declarations -DIPVS_HELPERS_BC -c -g0 $< -emit-llvm -o $@
$(obj)/linux/helpers/helpers.bc: private part-of-module := y
$(obj)/linux/helpers/helpers.bc: $(src)/linux/helpers/helpers.c FORCE
	$(call if_changed_dep,linux_helper_bc)
targets += linux/helpers/helpers.bc
$(obj)/linux/linux.o: $(obj)/linux/helpers/helpers.bc
linux_llvm_link := $(LLVM_LINK)
$(obj)/linux/linux.o: private LLVM_LINK = $(src)/linux/bindings/llvm-link-with \
	$(linux_llvm_link) $(obj)/linux/helpers/helpers.bc
$(addprefix $(obj)/,$(linux-users)): private LLVM_LINK = $(src)/linux/bindings/llvm-link-with \
	$(linux_llvm_link) $(obj)/linux/helpers/helpers.bc
endif

CFLAGS_REMOVE_linux/helpers/helpers.o = -Wmissing-prototypes -Wmissing-declarations
