#!/usr/bin/env bash
# All that a GPU is to show, in one run of at most 15 minutes; each part is saved as it ends.
#
#   benchmarks/gpu_report.sh                                  # into work_dirs/gpu_report
#   DEVICE=cpu SIZE=toy OUT=DIR benchmarks/gpu_report.sh      # a try: very small nets, minutes
#
#   OUT      folder: a folder and a log for each part, and parts.jsonl with seconds and exit statuses
#   DEVICE   default: cuda:0
#   SIZE     toy, or empty
#   PARTS    names of the parts to run (default: all, in the order below)
#   PYTHON   interpreter (default: .venv/bin/python, or python3 where there is none)
#
# A part that fails or runs out of its time does not stop the others; the exit status is 1 then.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=${OUT:-work_dirs/gpu_report}
device=${DEVICE:-cuda:0}
toy=${SIZE:-}
parts=${PARTS:-tests peaks trunk batching compiled camvid}
python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || python=python3
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
mkdir -p "$out"
: >"$out/parts.jsonl"
failed=0
patience=1  # the limits are for a GPU
[ -z "$toy" ] || patience=6

# part NAME LIMIT COMMAND...: run a command for at most LIMIT seconds, and record how it ended
part() {
  local name=$1 limit=$2 start=$SECONDS status=0
  shift 2
  [[ " $parts " == *" $name "* ]] || return 0
  echo "== $name"
  timeout "$((limit * patience))" "$@" >"$out/$name.log" 2>&1 || status=$?
  tail -n 12 "$out/$name.log"
  echo "{\"part\": \"$name\", \"seconds\": $((SECONDS - start)), \"status\": $status}" >>"$out/parts.jsonl"
  [ "$status" = 0 ] || failed=1
}

# Tests that need a GPU; among them a step in which PyTorch refuses to wait for the device.
part tests 120 "$python" -m pytest -q -m gpu -p no:cacheprovider tests/test_backbones
# Peak memory against the foretold, and times of a step, of the three detectors.
part peaks 330 "$python" benchmarks/gpu_peaks.py --device "$device" --out "$out/peaks" \
  ${toy:+--toy --steps 1 --methods full,highway-joined@1}
# What each acceleration of a frozen trunk brings, and the batched quantizers.
part trunk 90 "$python" benchmarks/trunk_forward.py --nets swin-b --out "$out/trunk" \
  ${toy:+--nets swin-t --size 64 --batch 1 --steps 1 --warm-up 0}
part batching 90 "$python" benchmarks/batching.py --nets swin-b --sizes 512 --out "$out/batching" \
  ${toy:+--nets swin-t --sizes 64 --steps 1}
part compiled 120 "$python" benchmarks/compiled_step.py --out "$out/compiled" \
  ${toy:+--size 64 --steps 1 --methods frozen}
# A short training: CamVid, or generated scenes where it is not.
if [ -z "$toy" ] && [ -d "${MMQADAPTER_DATA:-data}/camvid" ]; then
  part camvid 150 "$python" tools/train.py configs/upernet_vit-tiny_highway_camvid.py \
    --work-dir "$out/camvid" --cfg-options train_cfg.max_iters=200 train_cfg.val_interval=200
else
  part camvid 150 "$python" tools/demo.py --out "$out/camvid" ${toy:+--iterations 2}
fi
exit "$failed"
