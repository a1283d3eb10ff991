#!/usr/bin/env bash
# Trains on this machine with several processes: one GPU each, or all on the CPU.
#
#   launch/local.sh 2 --config=configs/phantom_ddad.py --config.seed=1
#   MODULE=medad_jax.evaluate launch/local.sh 2 --workdir=runs/phantom_ddad
#
# The first number says how many; the rest is what `python -m medad_jax.main`
# takes. When a process dies the others are stopped, and the same command goes
# on from the last checkpoint. There is nothing to edit here.
#
# One process already uses all GPUs of a machine (`python -m medad_jax.main`);
# several are for trying what slurm.sbatch, tpu_vm.sh and jobset.yaml do.

set -u

PYTHON=${PYTHON:-python}
MODULE=${MODULE:-medad_jax.main}

fail() {
  echo "launch/local.sh: $1" >&2
  exit 2
}

[[ ${1:-} =~ ^[1-9][0-9]*$ ]] ||
  fail "'${1:-}' is not a number of processes; call it as launch/local.sh 2 --config=..."
count=$1
shift

gpus=0
if command -v nvidia-smi > /dev/null; then
  gpus=$(nvidia-smi --list-gpus | grep -c '^GPU')
fi
if ((gpus == 0)); then
  export JAX_PLATFORMS=${JAX_PLATFORMS:-cpu}
elif ((gpus < count)); then
  fail "$count processes were asked for and there are $gpus GPUs, one for each; give a number up to $gpus."
fi

# A port that is free now.
port=$("$PYTHON" -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])' 2> /dev/null) || fail "'$PYTHON' does not run; set PYTHON to the environment's python."
export JAX_COORDINATOR_ADDRESS=127.0.0.1:$port JAX_NUM_PROCESSES=$count

pids=()
stop() { kill -KILL "${pids[@]}" 2> /dev/null; }
trap 'stop; exit 130' INT TERM

for ((i = 0; i < count; i++)); do
  ((gpus > 0)) && export JAX_LOCAL_DEVICE_IDS=$i
  JAX_PROCESS_ID=$i "$PYTHON" -m "$MODULE" --distributed "$@" &
  pids+=($!)
done

for ((i = 0; i < count; i++)); do
  wait -n
  status=$?
  if ((status != 0)); then
    stop
    wait 2> /dev/null
    echo "launch/local.sh: a process ended with status $status and the others were stopped; mend what it said, then the same command goes on from the last checkpoint." >&2
    exit $status
  fi
done
