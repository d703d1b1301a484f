#!/usr/bin/env bash
# tools/deps.sh WHAT...: installs the Debian packages that WHAT (run, test, lint, container) need and
# that are missing. Prints the apt line first; silent and quick when nothing is missing. Packages that
# only some tests need (node, npm, chromium, numpy) may stay missing: those are then skipped by name.
set -euo pipefail

packages=() # found by dpkg-query
commands=() # command=package, found by the command, wherever it was installed from
optional=() # the same, and not worth failing for
welcome=()  # packages that are not worth failing for
for what in "$@"; do
    case $what in
    run)
        packages+=(libc6-dev libmicrohttpd-dev libcjson-dev libsqlite3-dev zlib1g-dev libopenblas0-pthread)
        commands+=(gcc=gcc make=make)
        ;;
    test)
        commands+=(curl=curl python3=python3 sqlite3=sqlite3)
        optional+=(node=nodejs npm=npm chromium=chromium)
        welcome+=(python3-numpy)
        ;;
    lint)
        packages+=(libclang-rt-14-dev)
        commands+=(clang=clang clang-format=clang-format clang-tidy=clang-tidy cppcheck=cppcheck
            shellcheck=shellcheck)
        ;;
    container) commands+=(buildah=buildah debootstrap=debootstrap) ;;
    *)
        echo "usage: tools/deps.sh run|test|lint|container ..." >&2
        exit 2
        ;;
    esac
done

PATH=$PATH:/usr/sbin:/sbin # debootstrap lives there
if ! command -v dpkg-query >/dev/null; then
    echo "tools/deps.sh knows Debian's packages only; what is needed here:" \
        "${packages[*]} ${commands[*]#*=} ${optional[*]#*=}" >&2
    exit 0
fi

missing=()
if ((${#packages[@]})); then
    # Several architectures or no record at all: a package counts only as "ii".
    installed=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' "${packages[@]}" 2>/dev/null || true)
    for package in "${packages[@]}"; do
        [[ $'\n'$installed$'\n' == *$'\n'"ii $package"$'\n'* ]] || missing+=("$package")
    done
fi
for entry in "${commands[@]}"; do
    command -v "${entry%%=*}" >/dev/null || missing+=("${entry#*=}")
done
wished=()
for package in "${welcome[@]}"; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || wished+=("$package")
done
for entry in "${optional[@]}"; do
    command -v "${entry%%=*}" >/dev/null || wished+=("${entry#*=}")
done
((${#missing[@]} + ${#wished[@]})) || exit 0

sudo=()
if ((EUID != 0)); then
    sudo=(sudo)
    [ -t 0 ] || sudo+=(-n) # nobody there to type a password
fi
apt() {
    local line=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=1 "$@")
    printf '%s\n' "${line[*]}"
    "${line[@]}" </dev/null
}

apt update || echo "deps: the package lists could not be refreshed; trying with those at hand" >&2
if ((${#missing[@]})) && ! apt install -y --no-install-recommends "${missing[@]}"; then
    echo "deps: these packages could not be installed: ${missing[*]}" >&2
    exit 1
fi
if ((${#wished[@]})) && ! apt install -y --no-install-recommends "${wished[@]}"; then
    echo "deps: without ${wished[*]} the tests that need them are skipped" >&2
fi
