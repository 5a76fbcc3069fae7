#!/usr/bin/env bash
# Set up .venv-ops: the packages of .venv, with mmcv's operators compiled. Does nothing when it is up to date.
#
#   MMQADAPTER_CACHE  where the compiled mmcv wheel is kept (default: ~/.cache/mmqadapter)
#   MAX_JOBS          compilers that run at a time (default: number of cores)
#   FORCE_CUDA=1      compile the CUDA operators on a machine without a GPU
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tools/dev/setup_env.sh

venv=$PWD/.venv-ops
key=$(cat .venv/.complete)
. tools/dev/env_lib.sh

begin
overlay "$PWD/.venv" "$(grep '^onedl-mmcv==' requirements/mmcv.txt)"
finish
