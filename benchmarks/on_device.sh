#!/usr/bin/env bash
# Every figure of an accelerator that docs/performance.md lacks, the most
# important first, each in a file as soon as it is there. The limits add up to
# ten minutes; what needs longer is ended and says so.
#
#   benchmarks/on_device.sh [FOLDER]      results, by default ./on_device
#   SMALL=1 benchmarks/on_device.sh       the same parts on a CPU, tiny
set -uo pipefail

cd "$(dirname "$0")/.."
out=${1:-on_device}
python=${PYTHON:-python}
mkdir -p "$out"

part() { # part NAME SECONDS MODULE ARGUMENTS...
  local name=$1 limit=$2 module=$3 code
  shift 3
  printf '== %s (at most %s s): python -m %s %s\n' \
    "$name" "$limit" "$module" "$*" | tee "$out/$name.txt"
  timeout "$limit" "$python" -m "$module" "$@" 2>&1 | tee -a "$out/$name.txt"
  code=${PIPESTATUS[0]}
  if [ "$code" -ne 0 ]; then
    echo "ended with status $code (124: out of time)" | tee -a "$out/$name.txt"
  fi
}

sides=(ours reference tuned)
if ! "$python" -c 'import torch' 2> /dev/null; then
  echo "PyTorch is not installed: this project is measured alone"
  sides=(ours)
fi
tiny=() alone=() nets=(ae dae) programs=() anomalies=()
if [ -n "${SMALL:-}" ]; then
  tiny=(--size=16 --normal=64 --unlabelled=64 --tests=16 --members=2 --batch=8
    --steps=2 --images=16 --repeats=1 --no-compile)
  alone=(--size=16 --normal=64 --batch=8 --steps=2 --repeats=1 --no-compile)
  nets=(ae)
  programs=(--programs ae)
  anomalies=(--images=4 --side=32 --repeats=1)
fi

# DDAD-ASR whole: seconds of each phase, images a second, memory, starts.
part ddad 240 benchmarks.ddad --sides "${sides[@]}" "${tiny[@]}"
# A step of every method, its time over its floors.
part programs 150 benchmarks.accelerators --time "${programs[@]}"
# Six members against one.
if [ -z "${SMALL:-}" ]; then
  part members 60 benchmarks.scaling --time --axes members --members 1 6 32
  part devices 40 benchmarks.scaling --time --axes devices
fi
# One net; PyTorch's sides have other names here.
if [ "${#sides[@]}" -gt 1 ]; then sides=(ours eager tuned); fi
part reconstruction 80 benchmarks.reconstruction --sides "${sides[@]}" \
  --nets "${nets[@]}" "${alone[@]}"
part synthesis 30 benchmarks.synthesis "${anomalies[@]}"
