# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the scripts of this directory share: the cache and how things get into it.
# Progress goes to standard error; standard output is for results.

env_dir=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck disable=SC2034 # for those who source this
top=$(realpath "$env_dir/../..")
cache=${IPVS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/ipvs-rs}
export LC_ALL=C

say() {
	printf '%s\n' "$*" >&2
}

die() {
	say "error: $*"
	exit 1
}

# step TITLE COMMAND...: runs it quietly, says how long it took; on failure shows its last words.
step() {
	local title=$1 log start=$SECONDS status
	shift
	mkdir -p "$cache/log"
	log=$cache/log/$(tr -c 'a-z0-9\n' - <<<"${title,,}").log
	# Not "if ! command": in a condition, bash goes on after an error inside a function.
	set +e
	(set -e && "$@") >"$log" 2>&1 </dev/null
	status=$?
	set -e
	if ((status)); then
		tail -n 20 "$log" >&2
		die "$title failed; all of its output is in $log"
	fi
	say "[$title] $((SECONDS - start)) s"
}

need_root() {
	((EUID == 0)) ||
		die "this must run as root, since it makes root file systems and mounts; use sudo"
}

# package_list NAME: the packages in packages/NAME, one per line.
package_list() {
	grep -Ev '^(#|$)' "$env_dir/packages/$1"
}

# key FILE...: a short name for the contents of the files.
key() {
	cat "$@" | sha256sum | cut -c 1-12
}

# once PATH FUNCTION: FUNCTION makes PATH under the temporary name it is given. PATH appears by
# a rename, so that what exists is complete; a concurrent run waits, and then finds it made.
once() {
	local path=$1 partial=$1.partial
	[[ -e $path ]] && return
	"$env_dir/preflight"
	"$env_dir/host-packages"
	mkdir -p "$(dirname "$path")"
	exec {lock}>"$path.lock"
	flock "$lock"
	if [[ ! -e $path ]]; then
		rm -rf --one-file-system "$partial"
		"$2" "$partial"
		sync -f "$partial"
		mv -T "$partial" "$path"
	fi
	exec {lock}>&-
}

# unpack_kernel DEBIAN DIR: makes DIR the kernel's source, out of the package that has it.
unpack_kernel() {
	mkdir -p "$2"
	tar -C "$2" --strip-components=1 -xf "$1"/usr/src/linux-source-*.tar.xz
}

# make_kernel_in ROOT TREE ARGS...: runs make in a kernel tree, in the build root.
make_kernel_in() {
	"$env_dir/chroot-run" "$1" rw /kernel "$2" -- make -j"$(nproc)" "${@:3}"
}

# ready_for_modules TREE: with MO=, Kbuild's rule for these also matches the tree's own, and each
# build of a module would make them anew.
ready_for_modules() {
	rm "$1"/rust/kernel/*.rs.S
}

# mirror: the Debian mirror that this machine's own apt configuration names.
mirror() {
	apt-get indextargets --format '$(RELEASE) $(CODENAME) $(SITE)' \
		'Created-By: Packages' 'Component: main' 2>/dev/null |
		awk -v want="$(os VERSION_CODENAME)" '$1 == want || $2 == want { print $NF; exit }'
}

# debian_sources: the apt source, as a stanza, of everything that is built or booted here.
debian_sources() {
	cat <<-EOF
		Types: deb
		URIs: $(mirror)
		Suites: trixie trixie-backports
		Components: main
		Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
	EOF
}

# os NAME: what the host's os-release file says about it.
os() {
	sed -n "s/^$1=//p" "${IPVS_OS_RELEASE:-/etc/os-release}" | tr -d '"'
}
