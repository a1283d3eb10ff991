"""MedIAnomaly's table: trains the methods on a data set and prints the scores.

  python -m benchmarks.table brain
  python -m benchmarks.table brain ae vae,train.epochs=150 ae,model.latent=4 \
      --seeds=1

An entry is a method of configs/reconstruction.py and what to change in its
configuration, by commas. Without entries the whole table is made: every method
that has a training of its own, and ae with other latent sizes. An entry that
was finished before is only evaluated again, one that was stopped goes on; one
that fails (for want of pretrained weights, say) is named, and the rest is done.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
import subprocess
import sys

from configs import reconstruction
from medad_jax import files
from medad_jax.report.results import Results, Score

ENTRIES = (
  *dict.fromkeys(
    name
    for name, (_, headline) in reconstruction.METHODS.items()
    if headline in (None, "rec")
  ),
  *(f"ae,model.latent={size}" for size in (1, 4, 64)),
)
# AUROC, percent, of MedIAnomaly (arXiv 2404.04518) and, for the latent sizes,
# AE4AD by the same authors: means of three runs, their deviation where known.
PUBLISHED = {
  "rsna": {
    "ae": "67.5 ± 0.9",
    "ae,model.latent=1": "66.5 ± 0.4",
    "ae,model.latent=4": "72.9 ± 2.1",
    "ae,model.latent=64": "60.7 ± 0.6",
    "ae-grad": "73.7 ± 1.0",
    "ae-l1": "68.1 ± 0.4",
    "ae-perceptual": "87.5 ± 0.2",
    "ae-ssim": "80.9 ± 0.3",
    "aeu": "86.5 ± 0.9",
    "ceae": "68.0 ± 0.5",
    "dae": "86.1 ± 0.7",
    "memae": "69.6 ± 0.4",
    "vae": "67.9 ± 0.8",
    "vae-combi": "67.4 ± 0.3",
    "vae-rec": "71.6 ± 0.8",
  },
  "brain": {
    "ae": "85.9 ± 0.3",
    "ae,model.latent=1": "36.6 ± 0.3",
    "ae,model.latent=4": "70.8 ± 1.4",
    "ae,model.latent=64": "86.8 ± 0.1",
    "ae-perceptual": "95.7",
    "ceae": "85.3 ± 1.5",
    "dae": "83.2",
    "memae": "82.6 ± 0.6",
    "vae": "85.3 ± 0.4",
  },
  "brats": {
    "ae": "82.6 ± 0.1",
    "ae,model.latent=1": "72.8 ± 0.8",
    "ae,model.latent=4": "79.4 ± 0.1",
    "ae,model.latent=64": "81.3 ± 0.2",
    "ae-perceptual": "85.1",
    "ceae": "81.7 ± 1.5",
    "dae": "85.9",
    "memae": "63.9 ± 7.7",
    "vae": "80.6 ± 0.8",
  },
}
HEADER = ("method", "epochs", "AUROC", "AP", "published AUROC", "seconds")


def main(argv: list[str] | None = None) -> int:
  """Trains, then prints; 1 where an entry failed."""
  args = _parse(argv)
  failed = [e for e in args.entries if not train(e, args)]
  print_table(args)
  for entry in failed:
    print(f"{entry} failed; its log is {_workdir(entry, args)}.log")
  return int(bool(failed))


def train(entry: str, args: argparse.Namespace) -> bool:
  """Trains and evaluates an entry in a process of its own; True if it did."""
  method, *changes = entry.split(",")
  workdir = _workdir(entry, args)
  command = [
    *(sys.executable, "-m", "medad_jax.main", f"--workdir={workdir}"),
    f"--config=configs/reconstruction.py:{args.dataset}/{method}",
    f"--config.seeds={args.seeds}",
    *(f"--config.{change}" for change in changes),
  ]
  print(" ".join(command[1:]), file=sys.stderr, flush=True)
  workdir.parent.mkdir(parents=True, exist_ok=True)
  with Path(f"{workdir}.log").open("w") as log:
    return not subprocess.run(command, stdout=log, stderr=log).returncode


def print_table(args: argparse.Namespace) -> None:
  """Prints the table in Markdown, an entry's further scores as rows."""
  print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
  for entry in args.entries:
    path = _workdir(entry, args) / "results.json"
    if path.exists():
      for row in _rows(entry, args.dataset, Results.load(path)):
        print(f"| {' | '.join(row)} |")


def _rows(
  entry: str, dataset: str, results: Results
) -> Iterator[tuple[str, ...]]:
  """One row of each of its scores that is a method of the field."""
  # Epochs have a column of their own.
  name, *changes = (c for c in entry.split(",") if "epochs" not in c)
  method, own = reconstruction.METHODS[name]
  known = {
    headline: other
    for other, (module, headline) in reconstruction.METHODS.items()
    if module == method and headline != own
  }
  headline = own or list(results.main.scores)[-1]  # the last, by contract
  published = PUBLISHED.get(dataset, {})
  seconds = f"{sum(results.seconds.values()):,.0f}"
  for score, other in {headline: name, **known}.items():
    found = results.main.scores[score]
    yield (
      ", ".join((other, *changes)),
      str(results.config["train"]["epochs"]),
      _percent(found, "auroc"),
      _percent(found, "ap"),
      published.get(",".join((other, *changes)), ""),
      seconds if score == headline else "",  # one training made them all
    )


def _percent(found: Score, name: str) -> str:
  """With its deviation over seeds, or with its interval."""
  if found.over_seeds:
    spread = found.over_seeds[name]
    return f"{100 * spread.mean:.1f} ± {100 * spread.std:.1f}"
  low, high = getattr(found.ranking, f"{name}_ci")
  value = getattr(found.ranking, name)
  return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _workdir(entry: str, args: argparse.Namespace) -> Path:
  return args.workdir / f"{args.dataset}_{entry.replace(',', '_')}"


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.table",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("dataset", help="a data set, such as brain")
  parser.add_argument("entries", nargs="*", default=ENTRIES, metavar="ENTRY")
  parser.add_argument("--seeds", type=int, default=3, help="[3]")
  parser.add_argument(
    "--workdir",
    type=files.expanded,
    default=Path("runs/table"),
    help="[runs/table]",
  )
  return parser.parse_intermixed_args(argv)


if __name__ == "__main__":
  sys.exit(main())
