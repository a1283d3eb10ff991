"""Evaluates a finished run again, from its folder alone.

  python -m medad_jax.evaluate --workdir=runs/rsna_ddad
  python -m medad_jax.evaluate --workdir=/shared/rsna_ddad --out=rsna \
      --save=maps,reconstructions,latents

Needs the checkpoints, the run's config.json and the test images; neither the
training images nor the configuration's file, nor the devices it was trained on.
With --out the run's folder is only read, so it may be somebody else's.
"""

from pathlib import Path

from absl import flags

from medad_jax.engine import cli, experiment

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished run.")
DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Where the data sets are; by default as in training."
)
OUT = flags.DEFINE_string(
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
  experiment.evaluate_run(
    Path(WORKDIR.value).expanduser(),
    DATA_DIR.value,
    out=Path(OUT.value).expanduser() if OUT.value else None,
    save=SAVE.value,
  )


if __name__ == "__main__":
  cli.run(main, several=True)
