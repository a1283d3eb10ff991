"""Reproduces a table of a paper: all its runs, beside what is published.

  python -m medad_jax.reproduce --list
  python -m medad_jax.reproduce medianomaly/brain --methods=ae,vae,aeu --seeds=3
  python -m medad_jax.reproduce medianomaly/brain --quick
  python -m medad_jax.reproduce dpa/cifar10 --classes=0,3 --seeds=1
  python -m medad_jax.reproduce ddad/rsna --ablation
  python -m medad_jax.reproduce dpa/phantom --set=model.weights=random

The same command again goes on where it was stopped. configs/_tables.py says
which runs a table has. A set that is not built, but whose builder can do so
without being given any files, is built first.
"""

from collections.abc import Mapping, Sequence
import json
from typing import Any

from absl import flags

from medad_jax import files, shipped
from medad_jax.engine import cli, comparison, quick, reproduction
from medad_jax.engine import config as configuration
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
      print(f"{name}: {len(tables.rows(name))} runs")
    print(f"{', '.join(tables.ANY_SET)} take any other set, too.")
    return
  if len(words) != 1 or not tables.known(words[0]):
    raise UserError(
      f"'{' '.join(words)}' names no table; give one of"
      f" {', '.join(tables.names())}."
    )
  (name,) = words
  rows = _chosen(tables.rows(name, ABLATION.value), name)
  changes = {"seeds": SEEDS.value, **dict(map(_change, SET.value))}
  entries = [
    reproduction.Entry(
      row.group,
      title,
      quick.shortened(config) if QUICK.value else config,
      row.averaged,
      row.scores,
      row.dataset,
      _protocol(SET.value),
    )
    for title, row, config in _by_run(rows, _changed(rows, changes))
  ]
  endings = {"_ablation": ABLATION.value, "_quick": QUICK.value}
  ending = "".join(text for text, given in endings.items() if given)
  default = files.expanded(f"runs/reproduce/{name.replace('/', '_')}{ending}")
  reproduction.reproduce(
    entries, WORKDIR.value or default, _command(name), _notes()
  )


def _chosen(rows: Sequence[Any], name: str) -> list[Any]:
  """The rows that --methods and --classes name."""
  if not rows:
    raise UserError(
      f"{name} has no ablations; there are those of ddad, of maddr, and of dpa"
      f" on {', '.join(shipped.module('configs._tables').ABLATED)}."
    )
  for flag, given in (("methods", METHODS.value), ("classes", CLASSES.value)):
    names = [{row.title} if flag == "classes" else _named(row) for row in rows]
    if unknown := sorted(set(given) - set().union(*names)):
      known = ", ".join(sorted(set().union(*names) - {""}))
      raise UserError(
        f"--{flag}={','.join(unknown)} names no run of {name}; choose among"
        f" {known or 'none: it has one run'}."
      )
    if given:
      pairs = zip(rows, names, strict=True)
      rows = [row for row, its in pairs if its & set(given)]
  return list(rows)


def _named(row: Any) -> set[str]:
  """What --methods may call a row; a class is no method."""
  return {row.group} if row.averaged else {row.group, row.title}


def _by_run(rows: Sequence[Any], configs: Sequence[dict[str, Any]]):
  """Yields titles, rows and configurations, of every seed of --runs alone."""
  for row, config in zip(rows, configs, strict=True):
    if not RUNS.value:
      yield row.title, row, config
    for text in RUNS.value:
      if not text.isdigit():
        raise UserError(f"--runs={text} is no seed; give whole numbers.")
      alone = {"seed": int(text), "seeds": 1}
      title = f"{row.title}/seed_{text}".strip("/")
      yield title, row, configuration.with_hyper(config, alone)


def _changed(
  rows: Sequence[Any], changes: Mapping[str, Any]
) -> list[dict[str, Any]]:
  """The rows' configurations, each with those changes whose fields it has."""
  whole = [comparison.configured(row) for row in rows]
  known = [set(configuration.flatten(config)) for config in whole]
  # A table may have several methods, and a field of one of them is no mistake.
  lost = {
    name: value
    for name, value in changes.items()
    if not any(name in fields for fields in known)
  }
  configuration.with_hyper(whole[0], lost)  # refuses all of them
  return [
    configuration.with_hyper(
      config, {k: v for k, v in changes.items() if k in fields}
    )
    for config, fields in zip(whole, known, strict=True)
  ]


def _change(text: str) -> tuple[str, Any]:
  """The field and the value of "FIELD=VALUE"; values are JSON or words."""
  name, sign, value = text.partition("=")
  if not sign:
    raise UserError(f"--set={text} has no value; give FIELD=VALUE.")
  try:
    return name, json.loads(value)
  except ValueError:
    return name, value


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
