#!/usr/bin/env bash
# Set up .venv with everything pinned in requirements/; needs no compiler. Does nothing when it is up to date.
#
#   PYTHON            interpreter to use (default: the first of python3.11, 3.12 and 3.13, then python3)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

venv=$PWD/.venv
key=$( { echo "$venv"; cat requirements/{build,lock,mmcv}.txt; } | sha256sum)
. tools/dev/env_lib.sh

# Built by itself, without PyTorch in sight, mmcv leaves out its operators: no compiler, seconds.
# No pip cache: it may hold a wheel that was compiled for another PyTorch.
install_mmcv() {
  "$py" -m pip install --no-deps --force-reinstall --no-cache-dir --retries 10 --timeout 60 \
    --build-constraint requirements/build.txt -r requirements/mmcv.txt
}

begin
say '1/4 a virtual environment, pip and setuptools'
make_venv
watched pip with_retries pip_install -r requirements/build.txt
[ -d "$(site_packages "$py")/torch" ] || require_space 9  # 7 that stay, and what pip fetches before
say "2/4 PyTorch and the other packages: on the first run 3 GB to fetch, 2 to 5 minutes (log: $venv/log/packages.log)"
watched packages with_retries pip_install -r requirements/lock.txt
say '3/4 mmcv without compiled operators'
watched mmcv with_retries install_mmcv
say '4/4 mmqadapter from this folder'
watched mmqadapter pip_install -e .
"$py" -c 'import cv2, mmqadapter, mmdet, mmseg, timm' ||
  die "the installed packages do not import (reason above); run \`make clean-env env\`"
finish
