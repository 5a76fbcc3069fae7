#!/usr/bin/env bash
# Set up .venv-upstream: the oldest packages that work (requirements/upstream.txt), mmcv without operators.
# With the argument `ops` also .venv-upstream-ops: the same with mmcv's operators compiled.
# Does nothing when they are up to date. Variables: those of setup_env.sh and setup_ops_env.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

base=$PWD/.venv-upstream
newest=11  # the last Python with wheels of PyTorch 2.1
key=$( { echo "$base"; cat requirements/upstream.txt; } | sha256sum)

plain() {
  venv=$base
  . tools/dev/env_lib.sh
  begin
  say '1/3 a virtual environment, pip and setuptools'
  make_venv
  watched pip with_retries pip_install pip==26.3 'setuptools==69.5.1' wheel==0.48.0
  say "2/3 PyTorch 2.1 and the other packages: on the first run 3 GB to fetch, 2 to 5 minutes (log: $venv/log/packages.log)"
  watched packages with_retries pip_install -r requirements/upstream.txt
  say '3/3 mmqadapter from this folder'
  watched mmqadapter pip_install --no-build-isolation -e .
  "$py" -c 'import cv2, mmqadapter, mmdet, mmseg, timm' ||
    die "the installed packages do not import (reason above); remove $venv and run the same command again"
  finish
}

with_operators() {
  venv=$base-ops
  . tools/dev/env_lib.sh
  begin
  overlay "$base" "$(sed -n 's/^mmcv-lite==/mmcv==/p' requirements/upstream.txt)"
  finish
}

(plain)  # each in a shell of its own: a set-up that has nothing to do ends its shell
if [ "${1:-}" = ops ]; then (with_operators); fi
