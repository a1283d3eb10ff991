"""Evaluates a finished run again, from its folder alone.

  python -m medad_jax.evaluate --workdir=runs/rsna_ddad

Needs the checkpoints, the run's config.json and the test images; neither the
training images nor the configuration's file, nor the devices it was trained on.
"""

from absl import flags

from medad_jax.engine import cli, experiment

WORKDIR = cli.define_path("workdir", None, "Folder of a finished run.")
DATA_DIR = cli.define_path(
  "data_dir", None, "Where the data sets are; by default as in training."
)
flags.mark_flag_as_required("workdir")


def main() -> None:
  """Reads the flags."""
  data_dir = None if DATA_DIR.value is None else str(DATA_DIR.value)
  experiment.evaluate_run(WORKDIR.value, data_dir)


if __name__ == "__main__":
  cli.run(main, several=True)
