# What the scripts share: messages, packages, libfuse's source and build
# directories.  It is sourced, not run, by bash under `set -euo pipefail`.
# Functions that change something say so in one line.
# shellcheck shell=bash disable=SC2034

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
me=$(basename "$0")

# The oldest libfuse that meson.build takes from the system.
libfuse_minimum=3.17

# Where libfuse's source may be had, best first: a suite of Debian and the wrap
# whose tarball it may hold.  3.18.3 brings io_uring, 3.17.2 is the fallback.
libfuse_suites=(forky:fuse3 sid:fuse3 trixie:fuse3-17)

build_packages=(
	meson ninja-build pkg-config gcc libc6-dev
	libcmocka-dev uthash-dev libjansson-dev
	liburing-dev libnuma-dev
	fuse3 python3 ca-certificates
)

# gcc brings its own sanitizers, so the tests need no second compiler.
test_packages=(
	git python3-pytest python3-venv
	acl attr libcap2-bin mount squashfs-tools tar
	bindfs bubblewrap crun e2fsprogs openssh-client openssh-server sshfs
	mypy python3-django python3-pip python3-setuptools python3-wheel rsync sudo
	shellcheck mandoc zsh fish dpkg-dev systemd
)

# Not every distribution has these: where one is missing, its tests skip themselves.
optional_test_packages=(pypy3 python3-numba)

say() {
	printf '%s: %s\n' "$me" "$*"
}

complain() {
	printf '%s: %s\n' "$me" "$*" >&2
}

die() {
	complain "$@"
	exit 1
}

# Prints the comment at the top of the running script, which is its manual.
usage() {
	awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
}

# Runs a command and keeps it quiet, unless it fails: then shows what it said.
quietly() {
	local log status=0
	log=$(mktemp)
	"$@" >"$log" 2>&1 </dev/null || status=$?
	if [ "$status" -ne 0 ]; then
		tail -n 40 "$log" >&2
		complain "failed with status $status: $*"
	fi
	rm -f "$log"
	return "$status"
}

# --- packages ---

# Prints those of the named packages that are not installed, one a line.
missing_packages() {
	local installed package
	installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null) || true
	for package; do
		grep -qxF "installed $package" <<<"$installed" || printf '%s\n' "$package"
	done
}

# Runs a command as root.  ensure_packages has made sure that it is possible.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		env DEBIAN_FRONTEND=noninteractive "$@"
	else
		sudo env DEBIAN_FRONTEND=noninteractive "$@"
	fi
}

# Refreshes apt's lists, once in a run.  A foreign list that can't be had is no
# reason to stop: installing will tell whether something is missing.
lists_are_fresh=false
refresh_lists() {
	if ! $lists_are_fresh; then
		say "refreshing the package lists"
		quietly as_root apt-get -qq -o DPkg::Lock::Timeout=300 update ||
			complain "going on with the package lists that could be had"
		lists_are_fresh=true
	fi
}

# Whether a package of this name can be had in this version or a newer one.
can_install() {
	local candidate
	candidate=$(apt-cache policy "$1" | sed -n 's/^  Candidate: //p')
	[ -n "$candidate" ] && [ "$candidate" != "(none)" ] &&
		dpkg --compare-versions "$candidate" ge "$2"
}

# Installs those of the named packages that are missing.
ensure_packages() {
	local missing
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		say "no apt here, so nothing is installed; needed are: $*"
		return 0
	fi
	mapfile -t missing < <(missing_packages "$@")
	if [ "${#missing[@]}" -eq 0 ]; then
		return 0
	fi
	if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
		die "installing packages needs root or sudo; missing are: ${missing[*]}"
	fi
	refresh_lists
	say "installing ${missing[*]}"
	quietly as_root apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
		install "${missing[@]}"
}

# Installs those of the named packages that are missing and can be had.  (Asked of the
# lists as they are: ensure_packages has refreshed them where that was due.)
ensure_optional_packages() {
	local missing package known=()
	command -v apt-cache >/dev/null || return 0
	mapfile -t missing < <(missing_packages "$@")
	for package in "${missing[@]}"; do
		if can_install "$package" 0; then
			known+=("$package")
		else
			say "going on without $package, which can't be had here"
		fi
	done
	if [ "${#known[@]}" -gt 0 ]; then
		ensure_packages "${known[@]}"
	fi
}

# --- libfuse ---

system_has_libfuse() {
	pkg-config --atleast-version="$libfuse_minimum" fuse3 2>/dev/null
}

# Prints the value of a key of a wrap: wrap_value fuse3 source_hash
wrap_value() {
	sed -n "s/^$2 *= *//p" "$top/subprojects/$1.wrap"
}

# Whether a file is the tarball that a wrap asks for.
is_source_of() {
	[ -f "$2" ] && sha256sum --check --status <<<"$(wrap_value "$1" source_hash)  $2"
}

# Whether meson finds a wrap's source without asking the network.
have_source_of() {
	[ -d "$top/subprojects/$(wrap_value "$1" directory)" ] ||
		is_source_of "$1" "$top/subprojects/packagecache/$(wrap_value "$1" source_filename)"
}

have_libfuse_source() {
	have_source_of fuse3 || have_source_of fuse3-17
}

# Prints the archive's address that this machine takes its own release from.
own_archive() {
	local codename
	codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(CODENAME)|$(REPO_URI)' 'Created-By: Packages' |
		awk -F '|' -v own="$codename" '$1 == own { print $2; exit }'
}

debian_keyring() {
	local keyring
	for keyring in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
		if [ -f "$keyring" ]; then
			printf '%s\n' "$keyring"
			return 0
		fi
	done
	return 1
}

# fetch_source ARCHIVE KEYRING SUITE WRAP: puts the wrap's tarball into meson's
# cache of packages when the suite has it.  apt works on a configuration of its
# own, in a directory that is removed, so the machine's is as it was.  A subshell,
# for the trap; and since callers ask for its status, every step asks for its own.
fetch_source() (
	archive=$1 keyring=$2 suite=$3 wrap=$4
	file=$(wrap_value "$wrap" source_filename)
	cache=$top/subprojects/packagecache
	private=$(mktemp -d) || exit 1
	trap 'rm -rf "$private"' EXIT
	mkdir -p "$private"/{state/lists/partial,cache/archives/partial,source} "$cache" || exit 1
	# apt run by root downloads as this user, who has to get at the files.
	chmod 0755 "$private"
	if [ "$(id -u)" -eq 0 ] && id -u _apt >/dev/null 2>&1; then
		chown _apt "$private"/{state/lists/partial,cache/archives/partial,source}
	fi
	printf 'deb-src [signed-by=%s] %s %s main\n' "$keyring" "$archive" "$suite" \
		>"$private/sources.list"
	cd "$private/source" || exit 1
	# The wrap's hash says whether the tarball is right, so the suite's own age
	# doesn't matter: a mirror may stand still while the clock goes on.
	options=(
		-qq
		-o Acquire::Check-Valid-Until=false
		-o Dir::Etc::sourcelist="$private/sources.list"
		-o Dir::Etc::sourceparts=/dev/null
		-o Dir::State::lists="$private/state/lists"
		-o Dir::Cache="$private/cache"
		-o Acquire::Retries=2
		-o Acquire::Languages=none
	)
	{
		apt-get "${options[@]}" update &&
			apt-get "${options[@]}" source --download-only fuse3
	} >"$private/log" 2>&1 </dev/null || exit 1
	is_source_of "$wrap" "$file" || exit 1
	# Under a name of its own first: a half-written tarball would stop meson.
	cp "$file" "$cache/.$file.new" && mv "$cache/.$file.new" "$cache/$file"
)

# Sees to it that meson will find a libfuse that is new enough: the system's, a
# source that is here already, the distribution's package, or Debian's source.
provide_libfuse() {
	local archive keyring entry suite wrap
	if system_has_libfuse || have_libfuse_source; then
		return 0
	fi
	if ! command -v apt-get >/dev/null; then
		say "leaving the download of libfuse to meson"
		return 0
	fi
	archive=$(own_archive)
	if [ -z "$archive" ] && { [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null; }; then
		refresh_lists
		archive=$(own_archive)
	fi
	if can_install libfuse3-dev "$libfuse_minimum"; then
		ensure_packages libfuse3-dev
		return 0
	fi
	# A tarball whose hash is wrong would stop meson: have it fetched anew.
	for wrap in fuse3 fuse3-17; do
		rm -f "$top/subprojects/packagecache/$(wrap_value "$wrap" source_filename)"
	done
	if grep -qx 'ID=debian' /etc/os-release && [ -n "$archive" ] &&
		keyring=$(debian_keyring); then
		for entry in "${libfuse_suites[@]}"; do
			suite=${entry%%:*} wrap=${entry#*:}
			say "fetching $(wrap_value "$wrap" directory)'s source from Debian's $suite"
			if fetch_source "$archive" "$keyring" "$suite" "$wrap"; then
				return 0
			fi
			complain "Debian's $suite doesn't give it"
		done
	fi
	say "leaving the download of libfuse to meson"
}

# --- build directories ---

# Prints what a build directory was configured from, so that a library that came
# or went since then is noticed.
configured_from() {
	local library version
	for library in fuse3 jansson cmocka liburing numa; do
		version=$(pkg-config --modversion "$library" 2>/dev/null) || version=none
		printf '%s %s\n' "$library" "$version"
	done
	printf '%s\n' "$@"
}

# build_directory DIR [OPTION...]: configures top's DIR with these options of
# `meson setup` where that is due, and builds all that is in it.
build_directory() {
	local dir=$1 from
	shift
	# With a source at hand meson must not wait for a network it may not have.
	if have_libfuse_source; then
		set -- --wrap-mode=nodownload "$@"
	fi
	from=$(configured_from "$@")
	if [ ! -f "$top/$dir/build.ninja" ]; then
		say "configuring $dir"
		quietly meson setup "$@" "$top/$dir" "$top" || return
		printf '%s\n' "$from" >"$top/$dir/.configured-from"
	elif [ "$from" != "$(cat "$top/$dir/.configured-from" 2>/dev/null)" ]; then
		say "configuring $dir again"
		quietly meson setup --reconfigure "$@" "$top/$dir" "$top" || return
		printf '%s\n' "$from" >"$top/$dir/.configured-from"
	fi
	# ninja 1.11 tells even a quiet caller that it has nothing to do.
	if ! ninja --quiet -C "$top/$dir" | { grep -vx 'ninja: no work to do.' || true; }; then
		complain "building $dir failed"
		return 1
	fi
}
