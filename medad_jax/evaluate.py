"""Evaluates a finished run again, from its folder alone.

  python -m medad_jax.evaluate --workdir=runs/rsna_ddad
  python -m medad_jax.evaluate --workdir=/shared/rsna_ddad --out=rsna \
      --save=maps,reconstructions,latents

Needs the checkpoints, the run's config.json and the test images; neither the
training images nor the configuration's file, nor the devices it was trained on.
With --out the run's folder is only read, so it may be somebody else's.
"""

from absl import flags

from medad_jax.engine import cli, experiment

WORKDIR = cli.define_path("workdir", None, "Folder of a finished run.")
DATA_DIR = cli.define_path(
  "data_dir", None, "Where the data sets are; by default as in training."
)
OUT = cli.define_path(
  "out", None, "Folder for the results; by default the run's."
)
SAVE = flags.DEFINE_list(
  "save",
  [],
  "Arrays to write beside scores.csv: maps, reconstructions, latents.",
)
flags.mark_flag_as_required("workdir")


def main() -> None:
  """Reads the flags."""
  data_dir = None if DATA_DIR.value is None else str(DATA_DIR.value)
  experiment.evaluate_run(
    WORKDIR.value, data_dir, out=OUT.value, save=SAVE.value
  )


if __name__ == "__main__":
  cli.run(main, several=True)
