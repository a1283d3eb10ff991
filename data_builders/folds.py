"""Makes folds of a built set: `python -m data_builders.folds NAME -n 3`.

Each fold has images to train on, normal ones to decide when to stop, and normal
ones to be told apart from a few anomalies of confined variability, such as one
finding (`--anomalies=finding=Infiltration`), some slides
(`--anomalies=slide=tumor_078,tumor_052`), another class (`--anomalies=class=7`)
or the images in a folder (`--anomalies=DIR`). They lie beside the set, where
`python -m medad_jax.search` finds them. No test image is in a fold.

  python -m data_builders.folds phantom -n 2
  python -m data_builders.folds cifar10 --by=class      # folds for each class
  python -m data_builders.folds cifar10:3 --published   # those of DPA's authors
"""

import argparse
from pathlib import Path
import sys

from data_builders import dpa_lists, folding, published_folds
from medad_jax import files
from medad_jax.data import columns, folds, one_class, spec, store
from medad_jax.types import UserError


def main(argv: list[str] | None = None) -> int:
  """The command line; returns the exit status."""
  args = _parse(argv)
  try:
    for name in _names(args):
      _make(name, args)
  except UserError as error:
    print(f"data_builders: {error}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print("data_builders: interrupted; nothing was written of the last set.")
    return 130
  return 0


def _make(name: str, args: argparse.Namespace) -> None:
  root = store.default_data_dir()
  if args.data_dir:
    root = files.expanded(args.data_dir)
  path = files.expanded(args.out) if args.out else folds.path_of(root, name)
  if path.exists() and not args.overwrite:
    raise UserError(
      f"{name} has folds in {path}; add --overwrite to replace them, or --out."
    )
  if args.published:
    found = published_folds.published(
      name, args.mode, data_dir=args.data_dir, image_size=args.image_size
    )
  else:
    found = folding.make(
      name,
      args.n,
      by=None if args.by == columns.CLASS else args.by,
      anomalies=args.anomalies,
      most=args.most,
      seed=args.seed,
      data_dir=args.data_dir,
      image_size=args.image_size,
    )
  folds.write(path, found)
  _report(path, found)


def _names(args: argparse.Namespace) -> list[str]:
  """The set, or with `--by=class` the set with each class as the normal one."""
  built, normal = one_class.parse(args.name)
  if args.by != columns.CLASS or normal is not None:
    return [args.name]
  split = spec.open_dataset(
    built, args.data_dir, image_size=args.image_size, need=(folds.TRAIN,)
  ).splits[folds.TRAIN]
  classes = sorted(set(split.columns.get(columns.CLASS, ())))
  if not classes:
    raise UserError(f"--by=class was given, and {built} has no classes.")
  return [f"{built}:{text}" for text in classes]


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m data_builders.folds",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("name", help="a built set, such as brain or cifar10:3")
  parser.add_argument("-n", type=int, default=3, help="folds [3]")
  parser.add_argument(
    "--by",
    help="a column whose equal texts stay in one fold [patient, if known];"
    " class: folds for each class of the set",
  )
  parser.add_argument("--anomalies", help="COLUMN=TEXT,TEXT or a folder")
  parser.add_argument("--most", type=int, help="anomalies of a fold [all]")
  parser.add_argument("--seed", type=int, default=0, help="of the draw [0]")
  parser.add_argument(
    "--published",
    action="store_true",
    help=f"the folds of DPA's authors, of {', '.join(dpa_lists.SETS)}",
  )
  parser.add_argument(
    "--mode",
    choices=("reference", "fixed"),
    default="reference",
    help="published folds that hold an image twice: keep, or make others",
  )
  parser.add_argument("--data_dir", help="where sets are [$MEDAD_DATA_DIR]")
  parser.add_argument("--out", help="another file [beside the set]")
  parser.add_argument(
    "--image_size",
    type=int,
    default=64,
    help="pixels a side at which copies of test images are looked for [64]",
  )
  parser.add_argument("--overwrite", action="store_true")
  return parser.parse_args(argv)


def _report(path: Path, found: folds.Folds) -> None:
  print(f"{found.name}: {found.origin}")
  print(
    f"{'fold':<6}{'train':>8}{'validation':>12}{'normal':>8}{'anomalies':>11}"
  )
  for number, one in enumerate(found.folds):
    print(
      f"{number:<6}{len(one.train):>8}{len(one.validation):>12}"
      f"{len(one.normal):>8}{len(one.anomalies):>11}"
    )
  print(path)


if __name__ == "__main__":
  sys.exit(main())
