"""Reproduces a table of a paper: all its runs, beside what is published.

  python -m medad_jax.reproduce dpa/cifar10 --seeds=3
  python -m medad_jax.reproduce dpa/nih_subset --ablation
  python -m medad_jax.reproduce dpa/phantom --set=model.weights=random
  python -m medad_jax.reproduce maddr/memae --set=train.epochs=10

The same command again goes on where it was stopped. configs/_tables.py says
which runs a table has.
"""

from collections.abc import Mapping, Sequence
import json
from typing import Any

from absl import flags

from medad_jax import files, shipped
from medad_jax.engine import cli, fields, reproduction
from medad_jax.engine import config as configuration
from medad_jax.types import UserError

ABLATION = flags.DEFINE_bool("ablation", False, "The ablations of the table.")
SEEDS = flags.DEFINE_integer(
  "seeds", 3, "Trainings of each run.", lower_bound=1
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
  if len(words) != 1 or words[0] not in tables.names():
    raise UserError(
      f"'{' '.join(words)}' names no table; give one of"
      f" {', '.join(tables.names())}."
    )
  (name,) = words
  rows = tables.rows(name, ABLATION.value)
  if not rows:
    raise UserError(
      f"{name} has no ablations; there are those of dpa on"
      f" {', '.join(tables.ABLATED)}, and of maddr."
    )
  known = json.loads((shipped.folder() / "configs/published.json").read_text())
  published = known["auroc"].get(name, {})
  groups = {row.group: published.get(row.group, {}) for row in rows}
  changes = {"seeds": SEEDS.value, **dict(map(_change, SET.value))}
  entries = [
    reproduction.Entry(
      row.group,
      row.title,
      config,
      groups[row.group].get("values", {}).get(row.title),
      row.averaged,
    )
    for row, config in zip(rows, changed(rows, changes), strict=True)
  ]
  means = {
    group: found["values"]["mean"]
    for group, found in groups.items()
    if "mean" in found.get("values", {})
  }
  notes = [
    f"Published, {group}: {known['sources'][found['source']]}."
    for group, found in groups.items()
    if found
  ]
  ending = "_ablation" if ABLATION.value else ""
  default = files.expanded(f"runs/reproduce/{name.replace('/', '_')}{ending}")
  workdir = WORKDIR.value or default
  compared = [] if ABLATION.value else tables.differences(name)
  pairs = [reproduction.Pair(*found) for found in compared]
  reproduction.reproduce(entries, means, workdir, "\n".join(notes), pairs)


def changed(
  rows: Sequence[Any], changes: Mapping[str, Any]
) -> list[dict[str, Any]]:
  """The rows' configurations, each with those changes whose fields it has.

  Args:
    rows: of `configs._tables`.
    changes: values by the fields' names.

  Raises:
    UserError: no row has a field of that name.
  """
  whole = [
    shipped.module(f"configs.{row.file}").get_config(row.argument).to_dict()
    for row in rows
  ]
  known = [set(configuration.flatten(config)) for config in whole]
  # A table may have several methods, and a field of one of them is no mistake.
  every = sorted(set().union(*known))
  for name in changes:
    if name not in every:
      raise UserError(
        f"{name} is not a field of any run{fields.nearest(name, every)}."
      )
  return [
    configuration.with_hyper(
      config, {k: v for k, v in changes.items() if k in own}
    )
    for config, own in zip(whole, known, strict=True)
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


if __name__ == "__main__":
  cli.run(main, words=True)
