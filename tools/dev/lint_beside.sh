#!/usr/bin/env bash
# Run `make lint` beside a command: lint_beside.sh COMMAND [ARGUMENT ...]
#
# The command's output comes as it is written. That of lint comes in one block, when lint has ended.
# Succeeds when both do.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

lint() {
  local output status=0
  output=$(make --no-print-directory lint 2>&1 </dev/null) || status=$?
  if ((status == 0)); then
    printf '\n[lint] passed\n'
  else
    printf '\n[lint] failed:\n%s\n[lint] end\n' "$output"
  fi
  return "$status"
}

set -m  # a process group of its own for lint, so that an interrupted run ends its tools as well
lint &
job=$!
set +m
trap 'kill -- -"$job" 2>/dev/null; exit 130' INT TERM

status=0
"$@" || status=$?
wait "$job" || { echo '[lint] failed; its output is above' >&2; exit 1; }
exit "$status"
