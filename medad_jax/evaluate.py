"""Evaluates a finished run again, from its folder alone.

  python -m medad_jax.evaluate --workdir=runs/rsna_ddad

Needs the checkpoints, the run's config.json and the test images; neither the
training images nor the configuration's file, nor the devices it was trained on.
"""

from pathlib import Path

from absl import flags

from medad_jax.engine import cli, experiment

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished run.")
DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Where the data sets are; by default as in training."
)
flags.mark_flag_as_required("workdir")


def main() -> None:
  """Reads the flags."""
  experiment.evaluate_run(Path(WORKDIR.value), DATA_DIR.value)


if __name__ == "__main__":
  cli.run(main, several=True)
