"""Audits a built set: `python -m data_builders.audit brain`.

What could make scores too good, or say little: images that are in training and
in test, byte for byte or nearly; patients in both; sizes and columns that tell
the classes apart; and what scores reach that look at no anatomy. The findings
are kept beside the set as audit.json, audit.md and audit.png (the pairs), and
the report of every run on it shows them. Every build runs an audit.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
import sys
from typing import Any

from data_builders import audit_images, audit_picture, leaks
from data_builders.audit_findings import Findings, find
from medad_jax import files
from medad_jax.data import store
from medad_jax.types import UserError


def audit(folder: Path) -> dict[str, Any]:
  """Audits a set and keeps the findings beside it.

  Args:
    folder: the set's, DATA_DIR/NAME/VERSION.

  Returns:
    What audit.json holds: "sentences", "twins" and "near_twins" (by test split
    and other split, pairs of row and row), "trivial" (AUROC by score), and the
    "counts", "published" counts and "fingerprints" of the splits.

  Raises:
    UserError: the set is damaged, or its folder cannot be written.
  """
  facts = store.read_facts(folder)
  seen = {
    split: audit_images.look(folder, split, count)
    for split, count in facts["counts"].items()
  }
  found = find(seen, leaks.patient)
  tree = {
    "sentences": list(found.sentences),
    "trivial": dict(found.trivial),
    "twins": found.twins,
    "near_twins": found.near,
    **{k: facts[k] for k in ("counts", "published", "fingerprints")},
  }
  files.write_json(folder / store.AUDIT, tree)
  files.write(folder / "audit.md", page(folder.parent.name, tree, found))
  picture = folder / "audit.png"
  picture.unlink(missing_ok=True)
  if drawn := audit_picture.pairs(folder, seen, found):
    files.write(picture, drawn)
  return tree


def page(name: str, tree: Mapping[str, Any], found: Findings) -> str:
  """The findings in Markdown."""
  lines = [f"# Audit of {name}", ""]
  lines += [f"- {sentence}" for sentence in tree["sentences"]]
  lines += [
    "",
    "| split | images | published | fingerprint |",
    "|---|---|---|---|",
  ]
  for split, count in tree["counts"].items():
    published = tree["published"].get(split, "-")
    digest = tree["fingerprints"][split]
    lines.append(f"| {split} | {count} | {published} | `{digest}` |")
  lines += ["", "| score that looks at no anatomy | AUROC |", "|---|---|"]
  lines += [f"| {k} | {v:.3f} |" for k, v in tree["trivial"].items()]
  if found.tables:
    for title, rows in found.tables.items():
      lines += ["", f"| {title} | normal | abnormal |", "|---|---|---|"]
      lines += [f"| {kind} | {x:.1%} | {y:.1%} |" for kind, x, y in rows]
  if tree["twins"] or tree["near_twins"]:
    lines += ["", "![Test images above, their nearest ones below](audit.png)"]
  return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
  """The command line; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m data_builders.audit", description=__doc__
  )
  parser.add_argument("name", help="what the set was built as")
  parser.add_argument(
    "--data_dir", help="where sets are kept [$MEDAD_DATA_DIR or ~/medad_data]"
  )
  args = parser.parse_args(argv)
  try:
    store.check_name(args.name)
    root = (
      files.expanded(args.data_dir)
      if args.data_dir
      else store.default_data_dir()
    )
    folder = store.find_built(root, args.name)
    if folder is None:
      there = ", ".join(store.built_names(root)) or "none"
      raise UserError(
        f"there is no built set '{args.name}' in {root} (there: {there}); build"
        " it with python -m medad_jax.build."
      )
    report(folder, audit(folder))
  except UserError as error:
    print(f"data_builders: {error}", file=sys.stderr)
    return 2
  return 0


def report(folder: Path, tree: Mapping[str, Any]) -> None:
  """Prints what an audit has found."""
  print(f"\naudit of {folder.parent.name}")
  for sentence in tree["sentences"]:
    print(f"  {sentence}")
  print(f"  more is in {folder / 'audit.md'}")


if __name__ == "__main__":
  sys.exit(main())
