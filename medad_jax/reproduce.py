"""Reproduces a table of a paper: all its runs, beside what is published.

  python -m medad_jax.reproduce --list
  python -m medad_jax.reproduce medianomaly/brain --methods=ae,vae,aeu --seeds=3
  python -m medad_jax.reproduce medianomaly/brain --quick
  python -m medad_jax.reproduce dpa/cifar10 --classes=0,3 --seeds=1
  python -m medad_jax.reproduce ddad/rsna --ablation
  python -m medad_jax.reproduce dpa/phantom --set=model.weights=random
  python -m medad_jax.reproduce maddr --methods=memae,memae-alone

The same command again goes on where it was stopped. configs/_tables.py says
which runs a table has.
"""

from collections.abc import Sequence

from absl import flags

from medad_jax import files, shipped
from medad_jax.engine import cli, quick, reproduction, table_runs
from medad_jax.report import paired
from medad_jax.types import UserError

LIST = flags.DEFINE_bool("list", False, "All tables; then nothing is run.")
ABLATION = flags.DEFINE_bool("ablation", False, "The ablations of the table.")
QUICK = flags.DEFINE_bool("quick", False, "A tenth of every training's length.")
SEEDS = flags.DEFINE_integer(
  "seeds", 3, "Trainings of each run.", lower_bound=1
)
METHODS = flags.DEFINE_list(
  "methods", [], "Runs of these methods, groups or titles; by default all."
)
flags.DEFINE_alias("models", "methods")
CLASSES = flags.DEFINE_list(
  "classes", [], "Runs of these normal classes; by default all."
)
RUNS = flags.DEFINE_list(
  "runs", [], "Only these seeds, each in a folder of its own."
)
SET = flags.DEFINE_multi_string(
  "set", [], "FIELD=VALUE for those of its runs that have the field."
)
WORKDIR = cli.define_path(
  "workdir",
  None,
  "Folder of the runs' folders; by default runs/reproduce/TABLE.",
)


def main(words: list[str]) -> None:
  """Reads the flags."""
  tables = shipped.module("configs._tables")
  if LIST.value:
    for name in tables.names():
      count = len(tables.rows(name))
      print(f"{name}: {count} run{'s' if count > 1 else ''}")
    print(f"{', '.join(tables.ANY_SET)} take any other set, too.")
    return
  if len(words) != 1 or not tables.known(words[0]):
    raise UserError(
      f"'{' '.join(words)}' names no table; give one of"
      f" {', '.join(tables.names())}."
    )
  (name,) = words
  rows = table_runs.chosen(name, ABLATION.value, METHODS.value, CLASSES.value)
  changes = {"seeds": SEEDS.value, **table_runs.changes(SET.value)}
  configs = table_runs.changed(rows, changes)
  entries = [
    reproduction.Entry(
      row.group,
      title,
      quick.shortened(config) if QUICK.value else config,
      row.averaged,
      row.scores,
      row.dataset,
      _protocol(SET.value),
      bool(RUNS.value),
    )
    for title, row, config in table_runs.by_run(rows, configs, RUNS.value)
  ]
  endings = {"_ablation": ABLATION.value, "_quick": QUICK.value}
  ending = "".join(text for text, given in endings.items() if given)
  default = files.expanded(f"runs/reproduce/{name.replace('/', '_')}{ending}")
  compared = () if ABLATION.value else tables.differences(name)
  reproduction.reproduce(
    entries,
    WORKDIR.value or default,
    _command(name),
    _notes(),
    [paired.Pair(*pair) for pair in compared],
  )


def _protocol(changes: Sequence[str]) -> str:
  """How all runs of this command depart from the published protocol."""
  said = [quick.SAID] if QUICK.value else []
  return ", ".join([*said, *changes])


def _command(name: str) -> str:
  """The command that makes the same table again."""
  words = [f"python -m medad_jax.reproduce {name}"]
  words += ["--ablation"] if ABLATION.value else []
  words += ["--quick"] if QUICK.value else []
  words += [f"--seeds={SEEDS.value}"]
  for flag, given in (
    ("methods", METHODS.value),
    ("classes", CLASSES.value),
    ("runs", RUNS.value),
  ):
    words += [f"--{flag}={','.join(given)}"] if given else []
  return " ".join([*words, *(f"--set={text}" for text in SET.value)])


def _notes() -> list[str]:
  if not QUICK.value:
    return []
  return [
    "Every training has a tenth of its published length: these numbers show"
    " that the table can be made, and not how good the methods are."
  ]


if __name__ == "__main__":
  cli.run(main, words=True)
