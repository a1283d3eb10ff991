#!/usr/bin/env bash
# Every figure of an accelerator that docs/performance.md lacks, the most
# important first, each in a file as soon as it is there. With one GPU the
# limits add up to ten minutes; what needs longer is ended and says so.
#
#   benchmarks/on_device.sh [FOLDER]      results, by default ./on_device
#   SMALL=1 benchmarks/on_device.sh       the same parts on a CPU, tiny
set -uo pipefail

cd "$(dirname "$0")/.."
out=${1:-on_device}
python=${PYTHON:-python}
mkdir -p "$out"

part() { # part NAME SECONDS MODULE ARGUMENTS...
  local name=$1 limit=$2 module=$3
  shift 3
  timed "$name" "$limit" "$python" -m "$module" "$@"
}

timed() { # timed NAME SECONDS COMMAND...
  local name=$1 limit=$2 code
  shift 2
  printf '== %s (at most %s s): %s\n' "$name" $((slack * limit)) "$*" |
    tee "$out/$name.txt"
  timeout $((slack * limit)) "$@" 2>&1 | tee -a "$out/$name.txt"
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
tiny=() alone=() methods=(ra cutpaste-2s piad fanogan)
programs=() anomalies=() slack=1
if [ -n "${SMALL:-}" ]; then
  tiny=(--size=16 --normal=64 --unlabelled=64 --tests=16 --members=2 --batch=8
    --steps=2 --images=16 --repeats=1 --no-compile)
  alone=(--size=32 --normal=64 --batch=8 --steps=2 --repeats=1 --no-compile)
  methods=(ra cutpaste-2s)
  programs=(--programs ae)
  anomalies=(--images=4 --side=32 --repeats=1)
  slack=10 # a CPU takes longer to compile
fi

# DDAD-ASR whole: seconds of each phase, images a second, memory, starts.
part ddad 190 benchmarks.ddad --sides "${sides[@]}" "${tiny[@]}"
# A step of every method, its time over its floors.
part programs 100 benchmarks.accelerators --time "${programs[@]}"
# Six members against one.
if [ -z "${SMALL:-}" ]; then
  part members 40 benchmarks.scaling --time --axes members --members 1 6 32
fi
# A step of other systems beside PyTorch's, as its users run it.
if [ "${#sides[@]}" -gt 1 ]; then sides=(ours eager); fi
for method in "${methods[@]}"; do
  part "$method" 60 benchmarks.methods --sides "${sides[@]}" \
    --methods "$method" "${alone[@]}"
done
part synthesis 30 benchmarks.synthesis "${anomalies[@]}"
# Several GPUs: one, two, four and eight, and a process for each of two.
cards=$("$python" -c 'import jax; print(jax.local_device_count("gpu"))' \
  2> /dev/null || echo 1)
if [ "$cards" -gt 1 ]; then
  part devices 120 benchmarks.scaling --time --axes devices
  for count in 1 2; do
    timed "processes_$count" 90 env "PYTHON=$python" launch/local.sh "$count" \
      --config=configs/phantom_ddad.py --workdir="$out/processes_$count"
  done
fi
