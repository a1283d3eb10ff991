#!/usr/bin/env bash
# Trains on a Cloud TPU slice, from your own machine: launch/tpu_vm.sh
#
# Copies this folder as it is (without what git ignores) to every host of the
# slice, installs it there and starts one process a host. Call it again to go on
# from the last checkpoint.
#
# ---- What to edit -----------------------------------------------------------
TPU=my-slice                       # its name, as `gcloud compute tpus` lists it
ZONE=us-central2-b
DATA=/mnt/share/medad_data         # a folder that all hosts mount
PYTHON=3.12                        # uv fetches it: the hosts' own may be older
ARGUMENTS="--config=configs/rsna_ddad.py --workdir=/mnt/share/runs/rsna_ddad"
# -----------------------------------------------------------------------------

set -euo pipefail
cd "$(dirname "$0")/.."

on_all_hosts() {
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$1"
}

archive=$(mktemp)
trap 'rm -f "$archive"' EXIT
# Changed and new files, too; not those that were removed.
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do
    if [ -e "$file" ]; then printf '%s\0' "$file"; fi
  done | tar --null -czf "$archive" -T -
gcloud compute tpus tpu-vm scp "$archive" "$TPU:medad_jax.tar.gz" \
  --zone="$ZONE" --worker=all

on_all_hosts "mkdir -p medad_jax && cd medad_jax \
  && tar -xzf ../medad_jax.tar.gz \
  && { [ -x .uv/bin/uv ] || { python3 -m venv .uv \
    && .uv/bin/pip install --quiet uv; }; } \
  && { [ -d .venv ] || .uv/bin/uv venv --quiet --python $PYTHON .venv; } \
  && .uv/bin/uv pip install --quiet --python .venv -e '.[tpu]'"
# jax asks the TPU's metadata who the processes are.
on_all_hosts "cd medad_jax && MEDAD_DATA_DIR=$DATA \
  .venv/bin/python -m medad_jax.main --distributed $ARGUMENTS"
