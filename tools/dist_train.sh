#!/usr/bin/env bash
# Train on several GPUs: tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# GPUS is the number of processes on this machine. For several machines, run it on each of them with
# NNODES, NODE_RANK, MASTER_ADDR and PORT set. PYTHON selects the interpreter.
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: $0 CONFIG GPUS [arguments of tools/train.py]" >&2
  exit 2
fi
config=$1 gpus=$2
shift 2
exec "$(dirname "${BASH_SOURCE[0]}")/dist_launch.sh" train.py "$gpus" "$config" "$@"
