#!/usr/bin/env bash
# Evaluate on several GPUs: tools/dist_test.sh CONFIG TASK_OR_CHECKPOINT GPUS [arguments of tools/test.py]
# Variables as for tools/dist_train.sh.
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: $0 CONFIG TASK_OR_CHECKPOINT GPUS [arguments of tools/test.py]" >&2
  exit 2
fi
config=$1 weights=$2 gpus=$3
shift 3
exec "$(dirname "${BASH_SOURCE[0]}")/dist_launch.sh" test.py "$gpus" "$config" "$weights" "$@"
