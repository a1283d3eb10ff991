"""Trains a method and evaluates it.

  python -m medad_jax.main --config=configs/phantom_ddad.py
  python -m medad_jax.main --config=configs/rsna_ddad.py:aeu \
      --config.ensemble.size=5 --workdir=runs/rsna_aeu_5

The same command again continues a run that was stopped. `--distributed` makes
it one of several processes, as the scripts of launch/ start them.
"""

from absl import flags

from medad_jax.engine import cli, experiment

with cli.sentences():  # it reads the command line at once, and --flagfile
  CONFIG = cli.define_config()
WORKDIR = cli.define_path(
  "workdir", None, "Folder of the run; by default runs/<configuration>."
)


def main() -> None:
  """Reads the flags."""
  file = flags.FLAGS["config"].config_filename
  workdir = WORKDIR.value or cli.workdir_of(file)
  experiment.train_and_evaluate(CONFIG.value.to_dict(), workdir)


if __name__ == "__main__":
  cli.run(main, several=True)
