#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Compiles ipvs_core like the kernel does, overflow checks included, and fails if anything in it
# could call into core::panicking. Needs rustc (RUSTC) and nm.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# compile NAME SOURCE [OPTION...]
compile() {
	name=$1
	shift
	RUSTC_BOOTSTRAP=1 ${RUSTC:-rustc} --edition=2021 --crate-type=lib --crate-name "$name" \
		--emit="metadata=$out/lib$name.rmeta,obj=$out/$name.o" \
		-Copt-level=2 -Coverflow-checks=on -Cdebug-assertions=off -Cpanic=abort \
		-Ccodegen-units=1 -Cembed-bitcode=n -Clto=n -Zcrate-attr=no_std \
		-L "$out" "$@"
}

compile ipvs_core "$here/../../ipvs_core.rs"
compile instances "$here/instances.rs" --extern ipvs_core

if nm -u "$out/ipvs_core.o" "$out/instances.o" | grep panic; then
	echo "ipvs_core can panic" >&2
	exit 1
fi
echo "ipvs_core can't panic"
