#!/usr/bin/env bash
# Set up .venv-serve: the packages of .venv, and those of the page of `mmqadapter serve` (requirements/serve.txt).
# Does nothing when it is up to date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

base=$PWD/.venv
venv=$PWD/.venv-serve
key=$( { echo "$venv"; cat requirements/{build,lock,mmcv,serve}.txt; } | sha256sum)
. tools/dev/env_lib.sh

begin
above "$base"
watched packages with_retries install_above "$base" -r requirements/serve.txt
"$py" -c 'import gradio, mmqadapter' || die "the installed packages do not import (reason above); remove $venv and run the same command again"
finish
