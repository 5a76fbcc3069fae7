#!/usr/bin/env bash
# Common part of dist_train.sh and dist_test.sh: dist_launch.sh SCRIPT GPUS [arguments of the script]
set -euo pipefail
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
script=$1 gpus=$2
shift 2
if [ "${NNODES:-1}" = 1 ] && [ -z "${PORT:-}" ]; then
  rendezvous=(--standalone) # picks a free port, so that two jobs on one machine do not collide
else
  rendezvous=(--nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}"
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}")
fi
PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" "$tools/dist_launch.py" \
  "${rendezvous[@]}" --nproc_per_node="$gpus" "$tools/$script" "$@" --launcher pytorch
