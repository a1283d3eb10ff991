"""Trains a method and evaluates it.

  python -m medad_jax.main --config=configs/phantom_ddad.py
  python -m medad_jax.main --config=configs/rsna_ddad.py:aeu \
      --config.ensemble.size=5 --workdir=runs/rsna_aeu_5

The same command again continues a run that was stopped. `--distributed` makes
it one of several processes, as the scripts of launch/ start them.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from medad_jax.engine import cli, experiment
from medad_jax.types import UserError

CONFIG = config_flags.DEFINE_config_file(
  "config", None, "A file of configs/, and what to change in it."
)
WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the run; by default runs/<configuration>."
)
flags.mark_flag_as_required("config")


def main() -> None:
  """Reads the flags."""
  file = flags.FLAGS["config"].config_filename
  _check_exists(file)
  workdir = Path(WORKDIR.value or _default_workdir(file))
  experiment.train_and_evaluate(CONFIG.value.to_dict(), workdir)


def _check_exists(config: str) -> None:
  path = Path(config.partition(":")[0])
  if not path.exists():
    there = ", ".join(sorted(p.name for p in path.parent.glob("[!_]*.py")))
    raise UserError(
      f"--config={config} names no file; {path.parent} holds"
      f" {there or 'no configuration'}."
    )


def _default_workdir(config: str) -> str:
  """configs/rsna_ddad.py:aeu -> runs/rsna_ddad_aeu."""
  file, _, argument = config.partition(":")
  parts = [Path(file).stem, *argument.split("/")]
  return str(Path("runs") / "_".join(filter(None, parts)))


if __name__ == "__main__":
  cli.run(main, several=True)
