#!/usr/bin/env bash
# Memory and time of a step: three detectors of the highway's table, all methods, mixed precision.
#
#   benchmarks/detectors.sh                                  # all three, into work_dirs/detectors
#   OUT=results IMAGE_SIZE=64 STEPS=1 WARM_UP=0 AMP= DEVICE=cpu benchmarks/detectors.sh   # a try
#   CONFIG=configs/retinanet_swin-l_highway_voc.py OUT=results/voc benchmarks/detectors.sh   # one
#
#   CONFIG      measure this config alone, into OUT itself
#   OUT         folder of the reports (default: work_dirs/detectors)
#   METHODS     what to compare
#   IMAGE_SIZE  "HEIGHT WIDTH" in pixels; BATCH images (defaults: those of the published table)
#   STEPS       measured steps of each method (default: 20); WARM_UP before them (default: 5)
#   DEVICE      default: cuda:0
#   AMP         --amp, or empty for float32 (default: --amp)
#   OPTIONS     settings of CONFIG to override, as KEY=VALUE
#   PYTHON      interpreter (default: .venv/bin/python, or python3 where there is none)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=${OUT:-work_dirs/detectors}
methods=${METHODS:-full,full+checkpointing,frozen,partial1,adaptformer,adaptformer@1,highway,highway@1,highway-joined}
python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || python=python3

# measure CONFIG DIR "HEIGHT WIDTH" BATCH [KEY=VALUE ...]
measure() {
  local config=$1 dir=$2 size=${IMAGE_SIZE:-$3} batch=${BATCH:-$4}
  shift 4
  # shellcheck disable=SC2086  # a size is two words
  PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} "$python" tools/benchmark.py "$config" --out "$dir" \
    --methods "$methods" --image-size $size --batch-size "$batch" --steps "${STEPS:-20}" \
    --warm-up "${WARM_UP:-5}" --device "${DEVICE:-cuda:0}" ${AMP---amp} \
    ${1:+--cfg-options "$@"}
}

if [ -n "${CONFIG:-}" ]; then
  # shellcheck disable=SC2086  # several overrides are several words
  measure "$CONFIG" "$out" '512 512' 2 ${OPTIONS:-}
  exit
fi
measure configs/cascade-mask-rcnn_swin-b_highway_coco.py "$out/cascade-mask-rcnn_swin-b" '800 1333' 2
measure configs/retinanet_swin-l_highway_voc.py "$out/retinanet_swin-l" '600 1000' 2
# Swin-L in the config of Swin-B, with heads as wide as its maps.
backbone=model.backbone.backbone
measure configs/upernet_swin_highway_ade20k.py "$out/upernet_swin-l" '512 512' 2 \
  "$backbone.embed_dims=192" "$backbone.num_heads=[6,12,24,48]" \
  'model.decode_head.in_channels=[192,384,768,1536]' model.auxiliary_head.in_channels=768
