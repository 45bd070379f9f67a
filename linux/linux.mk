# SPDX-License-Identifier: GPL-2.0
#
# How this crate is built, for the Kbuild file of a module that is made of
#   $(linux-objs)     its objects: put them into the module's list
#   $(linux-users)    the module's own crates that use it; set before this is included

linux-objs := linux/linux.o
linux-objs += $(if $(CONFIG_RUST_INLINE_HELPERS),,linux/helpers/helpers.o)

# It emits metadata, which the crates above it read.
RUSTFLAGS_linux/linux.o := --emit=metadata=$(obj)/linux/liblinux.rmeta
linux-extern := -L $(obj)/linux --extern linux

$(addprefix $(obj)/,$(linux-users)): $(obj)/linux/linux.o
$(obj)/linux/linux.o: $(obj)/linux/bindings/bindings_generated.rs \
	$(obj)/linux/bindings/helpers_generated.rs
export LINUX_BINDINGS := $(abspath $(obj))/linux/bindings

include $(src)/linux/bindings/bindgen.mk
