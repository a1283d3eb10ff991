#!/usr/bin/env bash
# Trains on a Cloud TPU slice, from your own machine: launch/tpu_vm.sh
#
# Copies this folder to every host of the slice, installs it there and starts
# one process a host. Call it again to go on from the last checkpoint.
#
# ---- What to edit -----------------------------------------------------------
TPU=my-slice                       # its name, as `gcloud compute tpus` lists it
ZONE=us-central2-b
DATA=/mnt/share/medad_data         # a folder that all hosts mount
ARGUMENTS="--config=configs/rsna_ddad.py --workdir=/mnt/share/runs/rsna_ddad"
# -----------------------------------------------------------------------------

set -eu
cd "$(dirname "$0")/.."

on_all_hosts() {
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$1"
}

archive=$(mktemp)
trap 'rm -f "$archive"' EXIT
git archive --format=tar.gz --output="$archive" HEAD
gcloud compute tpus tpu-vm scp "$archive" "$TPU:medad_jax.tar.gz" \
  --zone="$ZONE" --worker=all

on_all_hosts "mkdir -p medad_jax && tar -xzf medad_jax.tar.gz -C medad_jax \
  && python3 -m venv medad_jax/.venv \
  && medad_jax/.venv/bin/pip install --quiet -e 'medad_jax[tpu]'"
# jax asks the TPU's metadata who the processes are.
on_all_hosts "cd medad_jax && MEDAD_DATA_DIR=$DATA \
  .venv/bin/python -m medad_jax.main --distributed $ARGUMENTS"
