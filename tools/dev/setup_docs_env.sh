#!/usr/bin/env bash
# Set up .venv-docs with what builds the documentation site (requirements/docs.txt); seconds, without PyTorch.
# Does nothing when it is up to date.
#
#   PYTHON            interpreter to use (default: python3.11, then python3.12, then python3)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

venv=$PWD/.venv-docs
key=$( { echo "$venv"; cat requirements/{build,docs}.txt; } | sha256sum)
. tools/dev/env_lib.sh

begin
make_venv
watched pip with_retries pip_install -r requirements/build.txt
watched packages with_retries pip_install -r requirements/docs.txt
watched check "$py" -m pip check
finish
