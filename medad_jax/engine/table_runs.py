"""The runs of a table that a user asks for, with their configurations."""

from collections.abc import Iterator, Mapping, Sequence
import json
from typing import Any

from medad_jax import shipped
from medad_jax.engine import comparison
from medad_jax.engine import config as configuration
from medad_jax.types import UserError


def chosen(
  name: str,
  ablation: bool,
  methods: Sequence[str] = (),
  classes: Sequence[str] = (),
) -> list[Any]:
  """The rows of a table that are wanted.

  Args:
    name: of the table.
    ablation: whether its ablations are meant.
    methods: methods, groups or titles; none for all.
    classes: normal classes; none for all.

  Raises:
    UserError: the table has no such rows.
  """
  tables = shipped.module("configs._tables")
  rows = tables.rows(name, ablation)
  if not rows:
    raise UserError(
      f"{name} has no ablations; there are those of ddad, of maddr, and of dpa"
      f" on {', '.join(tables.ABLATED)}."
    )
  for flag, given in (("methods", methods), ("classes", classes)):
    names = [_titles(row, flag) for row in rows]
    if unknown := sorted(set(given) - set().union(*names)):
      known = ", ".join(sorted(set().union(*names) - {""}))
      raise UserError(
        f"--{flag}={','.join(unknown)} names no run of {name}; choose among"
        f" {known or 'none: leave it out'}."
      )
    if given:
      # The table's order stays, whatever that of the flag.
      pairs = zip(rows, names, strict=True)
      rows = [row for row, its in pairs if its & set(given)]
  return list(rows)


def _titles(row: Any, flag: str) -> set[str]:
  """Names of a row that a flag may give; a class is no method."""
  if flag == "classes":
    return {row.title} if row.averaged else set()
  return {row.group} if row.averaged else {row.group, row.title}


def by_run(
  rows: Sequence[Any], configs: Sequence[dict[str, Any]], runs: Sequence[str]
) -> Iterator[tuple[str, Any, dict[str, Any]]]:
  """Yields titles, rows and configurations; each seed of `runs` by itself.

  Raises:
    UserError: one is no seed.
  """
  for row, config in zip(rows, configs, strict=True):
    if not runs:
      yield row.title, row, config
    for text in runs:
      if not text.isdigit():
        raise UserError(f"--runs={text} is no seed; give whole numbers.")
      # A folder belongs to one configuration, so each seed has its own.
      alone = {"seed": int(text), "seeds": 1}
      title = f"{row.title}/seed_{text}".strip("/")
      yield title, row, configuration.with_hyper(config, alone)


def changed(
  rows: Sequence[Any], changes: Mapping[str, Any]
) -> list[dict[str, Any]]:
  """The rows' configurations, each with those changes whose fields it has.

  Raises:
    UserError: no row has the field, or a value is out of its range.
  """
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


def changes(texts: Sequence[str]) -> dict[str, Any]:
  """Values by field, of texts "FIELD=VALUE"; values are JSON or words.

  Raises:
    UserError: one has no value.
  """
  return dict(map(_change, texts))


def _change(text: str) -> tuple[str, Any]:
  name, sign, value = text.partition("=")
  if not sign:
    raise UserError(f"--set={text} has no value; give FIELD=VALUE.")
  try:
    return name, json.loads(value)
  except ValueError:
    return name, value
