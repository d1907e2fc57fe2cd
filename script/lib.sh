# shellcheck shell=bash
# Set-up shared by the scripts beside it. Sourced, never run.
#
# Exit codes: 3 = a Debian package is missing and may not be installed from here; anything else is the failing command's.
set -euo pipefail
umask 022 # the service users of the demo must be able to read the code; secrets get their own modes

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
VENV="$ROOT/.venv"
cd -- "$ROOT"

say() { printf '==> %s\n' "$*"; }

die() {
  local code=$1
  shift
  printf 'error: %s\n' "$*" >&2
  exit "$code"
}

installed() {
  [[ $(dpkg-query -W -f='${Status}' "$1" 2>/dev/null) == "install ok installed" ]]
}

# need_packages NAME...: installs those that are missing, or prints the line that would and exits 3.
need_packages() {
  local name missing=() as_root=()
  command -v dpkg-query >/dev/null || die 3 "this is not a Debian system; install the equivalents of: $*"
  for name in "$@"; do
    installed "$name" || missing+=("$name")
  done
  ((${#missing[@]})) || return 0
  if [[ $(id -u) != 0 ]]; then
    if ! sudo -n true 2>/dev/null; then
      printf 'error: these Debian packages are missing, and installing them needs root:\n' >&2
      printf '  sudo apt-get install --no-install-recommends -y %s\n' "${missing[*]}" >&2
      exit 3
    fi
    as_root=(sudo -n)
  fi
  say "installing Debian packages: ${missing[*]}"
  "${as_root[@]}" apt-get -q -q update
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -q -o DPkg::Lock::Timeout=300 install --no-install-recommends -y "${missing[@]}" >/dev/null
}

# The interpreter to build the environment on: Debian's own first, because the service users can reach it.
find_python() {
  local candidate
  for candidate in /usr/bin/python3.11 python3.11 python3.12; do
    if command -v "$candidate" >/dev/null; then
      command -v "$candidate"
      return 0
    fi
  done
  die 3 "Python 3.11 is needed: sudo apt-get install --no-install-recommends -y python3.11 python3-venv"
}

digest() { sha256sum -- "$@" | sha256sum | cut -d' ' -f1; }

# need_venv LOCK: .venv with what requirements/LOCK.lock pins, and this project in it, editable.
# dev.lock contains demo.lock, which contains runtime.lock (tests/architecture/test_supply_chain.py), so the larger one serves.
need_venv() {
  local lock=$1 want
  exec 9>"$ROOT/.stamp-lock"
  flock 9
  if [[ -e $VENV/bin/python && ! -x $VENV/bin/python || $(cat "$VENV/.stamp-root" 2>/dev/null || true) != "$ROOT" ]]; then
    say "making .venv"
    rm -rf -- "$VENV"
    "$(find_python)" -m venv "$VENV"
    printf '%s' "$ROOT" >"$VENV/.stamp-root"
  fi
  if [[ $lock != dev && $(cat "$VENV/.stamp-dev" 2>/dev/null || true) == "$(digest requirements/dev.lock)" ]]; then
    lock=dev
  fi
  want=$(digest "requirements/$lock.lock")
  if [[ $(cat "$VENV/.stamp-$lock" 2>/dev/null || true) != "$want" ]]; then
    say "installing the locked dependencies (requirements/$lock.lock); the first time this downloads them"
    rm -f -- "$VENV"/.stamp-{runtime,demo,dev}
    # The lock is complete, so nothing is resolved: pip before 23.1 would look past a pin for a package that another one
    # wants with an extra, and fails as soon as a newer version of it is out.
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
      --require-hashes --only-binary :all: --no-deps -r "requirements/$lock.lock"
    "$VENV/bin/python" -m pip check --disable-pip-version-check >/dev/null ||
      die 1 "requirements/$lock.lock is not complete: run .venv/bin/python -m pip check"
    printf '%s' "$want" >"$VENV/.stamp-$lock"
  fi
  want="$(digest setup.cfg pyproject.toml) $(printf "%s " */__init__.py)"
  if [[ $(cat "$VENV/.stamp-self" 2>/dev/null || true) != "$want" ]]; then
    say "installing this checkout into .venv"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
      --no-deps --no-build-isolation -e .
    printf '%s' "$want" >"$VENV/.stamp-self"
  fi
  exec 9>&-
}
