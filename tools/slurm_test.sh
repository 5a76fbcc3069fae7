#!/usr/bin/env bash
# Evaluate on a Slurm cluster:
# tools/slurm_test.sh PARTITION JOB CONFIG TASK_OR_CHECKPOINT [arguments of tools/test.py]
# Variables as for tools/slurm_train.sh.
set -euo pipefail
if [ $# -lt 4 ]; then
  echo "usage: $0 PARTITION JOB CONFIG TASK_OR_CHECKPOINT [arguments of tools/test.py]" >&2
  exit 2
fi
exec "$(dirname "${BASH_SOURCE[0]}")/slurm_launch.sh" test.py "$@"
