#!/usr/bin/env bash
# Memory and time on a CPU, float32: UperNet and Mask R-CNN with Swin-T and Swin-B, all methods.
#
#   benchmarks/cpu_report.sh                                   # all four, into work_dirs/cpu_report
#   OUT=results IMAGE_SIZE=64 STEPS=1 WARM_UP=0 benchmarks/cpu_report.sh   # a try
#
# Settings: those of detectors.sh, which measures each one. 16 GB of memory, 100 minutes on two cores.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
out=${OUT:-work_dirs/cpu_report}
export METHODS=${METHODS:-full,full+checkpointing,frozen,norm,bitfit,partial1,adapter,adaptformer,adaptformer@1,lora,lorand,mona,highway,highway@1,highway-joined,highway-joined@1}
export DEVICE=cpu AMP='' STEPS=${STEPS:-5} WARM_UP=${WARM_UP:-1}

# measure CONFIG DIR [KEY=VALUE ...]
measure() {
  CONFIG=$1 OUT=$out/$2 OPTIONS=${*:3} "$here/detectors.sh"
}

backbone=model.backbone.backbone
tiny="$backbone.embed_dims=96 $backbone.depths=[2,2,6,2] $backbone.num_heads=[3,6,12,24]"
base="$backbone.embed_dims=128 $backbone.depths=[2,2,18,2] $backbone.num_heads=[4,8,16,32]"
upernet=configs/upernet_swin_qadapter_ade20k.py
mask_rcnn=configs/mask-rcnn_swin_qadapter_coco.py

# shellcheck disable=SC2086  # several overrides are several words
{
  measure $upernet upernet_swin-t $tiny \
    'model.decode_head.in_channels=[96,192,384,768]' model.auxiliary_head.in_channels=384
  measure $mask_rcnn mask-rcnn_swin-t
  measure $mask_rcnn mask-rcnn_swin-b $base 'model.neck.in_channels=[128,256,512,1024]'
  measure $upernet upernet_swin-b
}
