# shellcheck shell=sh
# What the scripts beside this file share: system packages, the virtual environment and the `netlab` command.
#
# Everything is repaired by running it again: a virtual environment counts only once its stamp `.ready` stands
# in it, and only one process at a time sets up. All messages go to standard error, so that `-o json` stays clean.
#
# NETLAB_HOME     where virtual environments and the log of the set-up go (/opt/netlab)
# NETLAB_PYTHON   the Python to use, 3.11 or later (the system's own)

# `su` without `-` keeps a user's PATH, in which iptables and ip are not to be found.
PATH="${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin"
export PATH

home=${NETLAB_HOME:-/opt/netlab}
log=$home/setup.log
# Part of each virtual environment's name: change it with the way they are built.
layout=1

say() { printf 'netlab: %s\n' "$*" >&2; }

# die MESSAGE: the machine lacks something (exit status 5)
die() {
    say "$*"
    exit 5
}

need_root() {
    [ "$(id -u)" = 0 ] && return
    if command -v sudo >/dev/null; then
        die "this needs root: run it with sudo"
    fi
    die "this needs root, and sudo is not installed: run it as root"
}

# prepare LOCKFILE: set $venv to a virtual environment that holds exactly what LOCKFILE lists.
# The usual run finds it all there, in a few milliseconds.
prepare() {
    lock=$1
    python=
    if find_python && ready; then
        return
    fi
    need_root
    mkdir -p "$home/venvs" || die "cannot write to $home"
    exec 9>"$home/lock"
    if ! flock -n 9; then
        say "waiting for another set-up to end"
        flock 9
    fi
    install_packages
    find_python || die "Python 3.11 or later is needed, and ${python:-none} is here: set NETLAB_PYTHON to one"
    # The other set-up may have made it.
    ready || make_venv
    exec 9>&-
}

# Set $python to the interpreter's real path (which names its version) and $venv to its place for this lock.
find_python() {
    for candidate in "${NETLAB_PYTHON:-}" /usr/bin/python3 "$(command -v python3)"; do
        [ -x "$candidate" ] || continue
        python=$(readlink -f "$candidate")
        digest=$({ cat "$lock" && printf '%s %s\n' "$layout" "$python"; } | sha256sum)
        venv=$home/venvs/${digest%"${digest#????????????????}"}
        [ -e "$venv/.ready" ] || "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || continue
        return 0
    done
    return 1
}

ready() {
    [ -e "$venv/.ready" ] && [ -x "$venv/bin/python" ] || return 1
    # A compiler that came later makes up for what its absence cost.
    if [ -e "$venv/.no-compiler" ] && can_compile; then
        return 1
    fi
    missing_programs
    [ -z "$missing" ]
}

# The programs that a running lab and its user need, each with its package; scripts/test adds its own.
programs="iptables-restore:iptables ip:iproute2 modprobe:kmod curl:curl"

# Set $missing to the packages of those $programs that are not here.
missing_programs() {
    missing=
    for program in $programs; do
        command -v "${program%:*}" >/dev/null || missing="$missing ${program#*:}"
    done
}

# A C compiler, its library's headers and Python's: python-iptables comes as source only.
can_compile() {
    command -v cc >/dev/null && [ -e /usr/include/stdlib.h ] &&
        "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
}

# Install what is missing of Debian's or Ubuntu's packages; nothing is asked of apt if nothing is.
install_packages() {
    missing_programs
    [ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
    if ! find_python; then
        # A Python that is too old cannot be mended by installing the same again.
        [ -n "$python" ] || missing="$missing python3 python3-venv libpython3-dev gcc libc6-dev"
    elif ! ready; then
        "$python" -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"
        can_compile || missing="$missing libpython3-dev gcc libc6-dev"
    fi
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null ||
        die "this machine lacks$missing (Debian's names) and has no apt-get: install them, then run this again"
    say "installing$missing"
    from=$(date +%s)
    apt update || apt update || say "the package lists could not be refreshed; going on with those there are"
    # shellcheck disable=SC2086 # a list of words
    if ! apt install $missing && ! { dpkg --configure -a >>"$log" 2>&1 9>&- && apt install $missing; }; then
        # Without a compiler netlab still works, so try for the rest.
        missing=$(printf '%s' "$missing" | sed 's/ libpython3-dev gcc libc6-dev//')
        [ -n "$missing" ] || return 0
        # shellcheck disable=SC2086
        if ! apt install $missing; then
            tail -n 5 "$log" >&2
            die "could not install$missing; all of apt's output is in $log"
        fi
    fi
    say "installed in $(($(date +%s) - from)) s"
}

# apt COMMAND [PACKAGE…]: quiet, unasking, patient with whoever holds dpkg's lock
apt() {
    case $1 in
    install) shift && set -- install -y --no-install-recommends "$@" ;;
    esac
    DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" \
        >>"$log" 2>&1 </dev/null 9>&-
}

# Build $venv at its final place (its scripts hold its path, so it cannot be moved) and stamp it when it is whole.
make_venv() {
    say "making the virtual environment $venv"
    from=$(date +%s)
    rm -rf "$venv"
    # pip runs from the wheel that Python brings along: unpacking it into the environment costs more than the rest.
    "$python" -m venv --without-pip "$venv" >>"$log" 2>&1 || die "could not make $venv; see $log"
    bundled=$("$python" -c 'import ensurepip; print(ensurepip.__path__[0])')
    pip_wheel=
    for wheel in "$bundled"/_bundled/pip-*.whl /usr/share/python-wheels/pip-*.whl; do
        [ ! -e "$wheel" ] || pip_wheel=$wheel
    done
    [ -n "$pip_wheel" ] || die "Python's own pip is missing: install python3-venv"
    # All but python-iptables come as wheels. A lock's entry begins in column one and goes on indented.
    awk '/^[^ ]/ { skip = /^python-iptables==/ } !skip' "$lock" >"$venv/wheels.lock"
    awk '/^[^ ]/ { keep = /^python-iptables==/ } keep' "$lock" >"$venv/source.lock"
    if ! pip --only-binary :all: -r "$venv/wheels.lock"; then
        tail -n 5 "$log" >&2
        die "could not install the Python packages; all of pip's output is in $log. Run this again to go on"
    fi
    # Without isolation the build uses the setuptools of the lock, not the newest there is.
    if ! can_compile; then
        : >"$venv/.no-compiler"
        say "no C compiler with Python's headers: set-up goes on without python-iptables, iptables-restore serves alone"
    elif ! pip --no-build-isolation --use-pep517 --no-deps -r "$venv/source.lock"; then
        say "python-iptables could not be built (see $log): set-up goes on without it, iptables-restore serves alone"
    fi
    # All modules at once, on all processors; pip would compile them one by one.
    "$venv/bin/python" -m compileall -q -j 0 "$venv/lib" >>"$log" 2>&1 9>&- || :
    : >"$venv/.ready"
    say "virtual environment made in $(($(date +%s) - from)) s"
}

# pip ARGUMENT…: install into $venv what carries the right hash
pip() {
    # A user's own PYTHONPATH or pip configuration for another environment must not reach in.
    env -u PIP_TARGET -u PIP_PREFIX -u PIP_USER -u PIP_REQUIRE_VIRTUALENV -u PYTHONHOME PYTHONPATH="$pip_wheel" \
        "$venv/bin/python" -m pip install --quiet --no-compile --no-input --disable-pip-version-check --root-user-action=ignore \
        --require-hashes "$@" >>"$log" 2>&1 </dev/null 9>&-
}

# install_command CHECKOUT: make `netlab` and `cf-netlab` run this checkout's, unless a name is somebody else's.
install_command() {
    bin=${NETLAB_BIN:-/usr/local/bin}
    quoted=$1/scripts/netlab
    case $quoted in
    *\'*) quoted=$(printf '%s' "$quoted" | sed "s/'/'\\\\''/g") ;;
    esac
    wanted="exec '$quoted' \"\$@\""
    for name in netlab cf-netlab; do
        current=
        if [ -e "$bin/$name" ]; then
            { IFS= read -r _ && IFS= read -r current; } <"$bin/$name" || :
        fi
        case $current in
        "$wanted") continue ;;
        "exec '"*"/scripts/netlab' \"\$@\"") ;;
        *)
            if [ -e "$bin/$name" ] || [ -L "$bin/$name" ]; then
                [ -e "$home/kept-$name" ] || say "$bin/$name is another program and stays: use cf-netlab"
                : >"$home/kept-$name"
                continue
            fi
            ;;
        esac
        if ! { mkdir -p "$bin" && printf '#!/bin/sh\n%s\n' "$wanted" >"$bin/.$name.$$" &&
            chmod 755 "$bin/.$name.$$" && mv -f "$bin/.$name.$$" "$bin/$name"; }; then
            say "could not write $bin/$name: use $1/scripts/netlab"
        fi
    done
}
