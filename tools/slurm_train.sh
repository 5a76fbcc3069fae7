#!/usr/bin/env bash
# Train on a Slurm cluster: tools/slurm_train.sh PARTITION JOB CONFIG [arguments of tools/train.py]
# Variables (defaults): GPUS in all (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS (further
# options of srun).
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: $0 PARTITION JOB CONFIG [arguments of tools/train.py]" >&2
  exit 2
fi
exec "$(dirname "${BASH_SOURCE[0]}")/slurm_launch.sh" train.py "$@"
