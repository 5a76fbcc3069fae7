#!/usr/bin/env bash
# Set up .venv with everything pinned in requirements/. Does nothing when it is up to date.
#
#   PYTHON            interpreter to use (default: python3.11, then python3.12, then python3)
#   MMQADAPTER_CACHE  where the compiled mmcv wheel is kept (default: ~/.cache/mmqadapter)
#   MAX_JOBS          compilers that run at a time (default: number of cores)
#   FORCE_CUDA=1      compile the CUDA operators on a machine without a GPU
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

venv=$PWD/.venv
py=$venv/bin/python
stamp=$venv/.complete
key=$( { echo "$venv"; cat requirements/*.txt; } | sha256sum)

up_to_date() { [ "$(cat "$stamp" 2>/dev/null)" = "$key" ]; }
say() { printf '[env] %s\n' "$*"; }
die() { printf '[env] error: %s\n' "$*" >&2; exit 1; }

# Run a command with its output in a log; a line every 30 s; on failure the end of the log.
# Own process group: an interrupted set-up takes its compilers with it.
watched() {
  local name=$1 log=$venv/log/$1.log start=$SECONDS next=30 status=0
  shift
  set -m
  "$@" >"$log" 2>&1 </dev/null 9>&- &
  job=$!
  set +m
  while kill -0 "$job" 2>/dev/null; do
    sleep 0.5
    if ((SECONDS - start >= next)); then
      say "  $name: still running after $next s (log: $log)"
      next=$((next + 30))
    fi
  done
  wait "$job" || status=$?
  job=
  ((status == 0)) && return
  tail -n 40 "$log" >&2
  die "$name failed with status $status; above is the end of $log. Run \`make env\` again to go on."
}

pip_install() {
  "$py" -m pip install --no-deps --retries 10 --timeout 60 --no-build-isolation "$@"
}

# A registry that drops a long download is asked again; what has come already is in pip's cache.
with_retries() { "$@" || "$@" || "$@"; }

runs_python() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.11 python3.12 python3}; do
    if runs_python "$candidate"; then command -v "$candidate"; return; fi
  done
  die "no Python 3.11 or 3.12 found (tried: ${PYTHON:-python3.11 python3.12 python3}); install one, or name it: PYTHON=/path/to/python3.11 make env"
}

check_machine() {
  "$1" -c 'import ensurepip, venv' 2>/dev/null ||
    die "$1 has no venv module; install it (Debian, Ubuntu: apt install python3-venv)"
  command -v "${CXX:-g++}" >/dev/null || die "no C++ compiler (${CXX:-g++}), which mmcv needs; install one (Debian, Ubuntu: apt install g++)"
  "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
    die "the headers of $1 (Python.h) are missing, which mmcv needs; install them (Debian, Ubuntu: apt install python3-dev)"
}

make_venv() {
  if runs_python "$py" && grep -q "$venv" "$venv/bin/activate"; then
    say "1/5 keeping .venv, bringing it up to date"
  else
    local base
    base=$(find_python)
    check_machine "$base"
    say "1/5 making .venv with $("$base" --version)"
    "$base" -m venv --clear "$venv"
  fi
  mkdir -p "$venv/log" "$TMPDIR"
}

# Folder of the wheel: a wheel fits one Python, one PyTorch, one platform, with or without CUDA.
wheel_folder() {
  local cache=${MMQADAPTER_CACHE:-${HOME:-$venv}/.cache/mmqadapter}
  mkdir -p "$cache/wheels" 2>/dev/null && [ -w "$cache/wheels" ] || cache=$venv/cache
  "$py" - "$cache" <<'PY'
import os, sys, sysconfig, torch
cuda = torch.cuda.is_available() or os.environ.get('FORCE_CUDA') == '1'
python = 'py{}{}'.format(*sys.version_info[:2])
key = [python, 'torch' + torch.__version__.split('+')[0], sysconfig.get_platform(), 'cuda' if cuda else 'cpu']
print(os.path.join(sys.argv[1], 'wheels', '-'.join(key)))
PY
}

# -g0: debug symbols double the time. CFLAGS replaces Python's own flags (-O3), hence their repetition.
# No pip cache: it may hold a wheel that was built without operators.
compile_mmcv() {
  local flags
  flags="$("$py" -c 'import sysconfig; print(sysconfig.get_config_var("CFLAGS"))') ${CFLAGS:-} -g0"
  PATH=$venv/bin:$PATH CFLAGS=$flags MMCV_WITH_OPS=1 MAX_JOBS=$1 "$py" -m pip wheel --no-deps \
    --no-build-isolation --no-cache-dir --retries 10 --timeout 60 -w "$TMPDIR/wheel" -r requirements/mmcv.txt
}

# The wheel shows up in the cache complete or not at all.
install_mmcv() {
  local folder version wheel jobs=${MAX_JOBS:-$(nproc)}
  folder=$(wheel_folder)
  version=$(sed -n 's/^onedl-mmcv==//p' requirements/mmcv.txt)
  wheel=$(compgen -G "$folder/onedl_mmcv-$version-*.whl" | head -n 1) || true
  if [ -n "$wheel" ]; then
    say "4/5 installing mmcv $version from $wheel"
  else
    say "4/5 compiling mmcv $version with $jobs jobs: about $((12 / jobs + 1)) minutes, more with CUDA, once (log: $venv/log/mmcv.log)"
    watched mmcv compile_mmcv "$jobs"
    wheel=$folder/$(basename "$TMPDIR"/wheel/*.whl)
    mkdir -p "$folder"
    cp "$TMPDIR"/wheel/*.whl "$folder/.partial.$$"
    mv "$folder/.partial.$$" "$wheel"
  fi
  watched mmcv-install pip_install --no-index --force-reinstall "$wheel"
  "$py" -c 'import torch, mmcv._ext' ||
    die "mmcv was installed from $wheel, but its operators do not load; remove that file and run \`make env\` again to compile anew"
}

up_to_date && exit 0
command -v flock >/dev/null && exec 9>.env.lock && { flock -n 9 || { say 'waiting for another set-up of this folder'; flock 9; }; }
up_to_date && exit 0

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
export TMPDIR=$venv/tmp  # on the disk that has to hold the packages anyway; the usual one is often small
job=
trap '[ -z "$job" ] || kill -- -"$job" 2>/dev/null; rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

rm -f "$stamp"
rm -rf "$TMPDIR"
make_venv
say "2/5 installing pip and setuptools"
watched pip with_retries pip_install -r requirements/build.txt
say "3/5 installing PyTorch and the other packages: on the first run 3 GB to fetch, 2 to 5 minutes (log: $venv/log/packages.log)"
watched packages with_retries pip_install -r requirements/lock.txt
install_mmcv
say "5/5 installing mmqadapter from this folder"
watched mmqadapter pip_install -e .
"$py" -c 'import cv2, mmdet, mmseg, timm, mmqadapter' ||
  die "the installed packages do not import (reason above); run \`make clean-env env\`"
printf '%s\n' "$key" >"$stamp"
say "ready after $SECONDS s: $py"
