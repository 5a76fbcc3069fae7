#!/usr/bin/env bash
# Common part of slurm_train.sh and slurm_test.sh: slurm_launch.sh SCRIPT PARTITION JOB [arguments]
set -euo pipefail
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
script=$1 partition=$2 job=$3
shift 3
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-8}
if [ "$per_node" -gt "$gpus" ]; then per_node=$gpus; fi
read -r -a extra <<<"${SRUN_ARGS:-}"
PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}" exec srun --partition="$partition" \
  --job-name="$job" --gres=gpu:"$per_node" --ntasks="$gpus" --ntasks-per-node="$per_node" \
  --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${extra[@]+"${extra[@]}"} \
  "${PYTHON:-python}" -u "$tools/$script" "$@" --launcher slurm
