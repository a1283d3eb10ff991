"""Reproduces a table of a paper: all its runs, beside what is published.

  python -m medad_jax.reproduce dpa/cifar10 --seeds=3
  python -m medad_jax.reproduce dpa/nih_subset --ablation
  python -m medad_jax.reproduce dpa/phantom --set=model.weights=random

The same command again goes on where it was stopped. configs/_tables.py says
which runs a table has.
"""

import json
from typing import Any

from absl import flags

from medad_jax import files, shipped
from medad_jax.engine import cli, reproduction
from medad_jax.engine import config as configuration
from medad_jax.types import UserError

ABLATION = flags.DEFINE_bool("ablation", False, "The ablations of the table.")
SEEDS = flags.DEFINE_integer(
  "seeds", 3, "Trainings of each run.", lower_bound=1
)
SET = flags.DEFINE_multi_string("set", [], "FIELD=VALUE for all its runs.")
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
      configuration.with_hyper(
        shipped.module(f"configs.{row.file}")
        .get_config(row.argument)
        .to_dict(),
        changes,
      ),
      groups[row.group].get("values", {}).get(row.title),
      row.averaged,
    )
    for row in rows
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
  reproduction.reproduce(entries, means, workdir, "\n".join(notes))


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
