"""Exports a finished run as one file that needs jax and numpy alone.

  python -m medad_jax.export --workdir=W --out=model.medad

The file holds the preparation of decoded images, all members, scores, threshold
and p-values, for CPUs, NVIDIA's GPUs and TPUs. `medad_jax.load_exported` reads
it, and `python model.medad images.npy` needs no medad_jax at all. Nothing is
written unless the file's scores of a probe are the checkpoint's.
"""

from absl import flags

from medad_jax.engine import cli, exporting

WORKDIR = cli.define_path("workdir", None, "Folder of a finished run.")
OUT = cli.define_path("out", "model.medad", "The file to write.")
PLATFORMS = flags.DEFINE_list(
  "platforms", list(exporting.PLATFORMS), "What the file is to run on."
)
BATCH_SIZE = flags.DEFINE_integer(
  "batch_size",
  None,
  "Images at a time, for devices of less memory; by default the run's.",
  lower_bound=1,
)
flags.mark_flag_as_required("workdir")


def main() -> None:
  """Reads the flags."""
  model = exporting.export(
    WORKDIR.value, OUT.value, PLATFORMS.value, BATCH_SIZE.value
  )
  same = "to the last bit"
  if model.difference:
    same = f"within {model.difference:.1e} of the largest"
  size = OUT.value.stat().st_size / 1e6
  print(
    f"{OUT.value} ({size:,.1f} MB, for {', '.join(PLATFORMS.value)}) scores its"
    f" probe as the checkpoint does, {same}"
  )


if __name__ == "__main__":
  cli.run(main)
