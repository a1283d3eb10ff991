"""Runs beside what is published and beside each other.

  python -m medad_jax.compare runs/reconstruction_brain_vae runs/other
  python -m medad_jax.compare runs/mine "theirs/AE/rsna"
  python -m medad_jax.compare "theirs/run_0@nih_subset/dpa/pg" --out=compared

A RUN is the work folder of a run, or what one of the PyTorch projects left:
results.txt and refine_dual_results.csv of DDAD-ASR, metrics.txt of MedIAnomaly,
results.csv of DPA, or files with a label and a score an image. Runs that differ
in their seeds alone are taken as one. RUN@DATASET/METHOD says what a run is
where its path does not.
"""

from collections.abc import Sequence
import json
from pathlib import Path

from medad_jax import files, published
from medad_jax.engine import cli, comparison, outside
from medad_jax.engine.workdir import decisive
from medad_jax.report import comparison as report
from medad_jax.report import results
from medad_jax.types import UserError

OUT = cli.define_path(
  "out", "compared", "Folder of comparison.md, comparison.csv and .png."
)


def main(words: list[str]) -> None:
  """Reads the runs, prints the table and writes it."""
  if not words:
    raise UserError("no run was given; give one or more folders of runs.")
  lines = compared(words)
  print(report.text(lines))
  files.make_folder(OUT.value)
  title = f"# python -m medad_jax.compare {' '.join(words)}\n\n"
  picture = "\n![Ours and published](comparison.png)\n"
  page = title + report.markdown(lines) + picture
  files.write(OUT.value / "comparison.csv", report.csv_text(lines))
  files.write(OUT.value / "comparison.md", page)
  files.write(OUT.value / "comparison.png", report.picture(lines))
  print(f"\ncomparison.md, .csv and .png are in {OUT.value}")


def compared(words: Sequence[str]) -> list[report.Line]:
  """The lines of all runs, sorted by set, method and metric.

  Raises:
    UserError: one of them cannot be read.
  """
  ours: dict[str, list[tuple[results.Results, Path]]] = {}
  theirs: dict[tuple[str, str], list[tuple[str, outside.Training]]] = {}
  for word in words:
    text, _, named = word.partition("@")
    path = files.expanded(text)
    if (path / "results.json").exists():
      found = results.Results.load(path / "results.json")
      fields = {**decisive(found.config), "seed": None, "seeds": None}
      ours.setdefault(json.dumps(fields, sort_keys=True), []).append(
        (found, path)
      )
      continue
    if not path.exists():
      raise UserError(f"{path} is not there; give a folder of a run.")
    dataset, _, method = named.partition("/")
    for one in outside.read(path, dataset, method):
      for key in one.values:
        theirs.setdefault((one.dataset, *key), []).append((text, one))
  made = [line for runs in ours.values() for line in _ours(runs)]
  made += [_theirs(*key, found) for key, found in theirs.items()]
  return sorted(made, key=lambda line: (line.dataset, line.method))


def _ours(
  runs: Sequence[tuple[results.Results, Path]],
) -> list[report.Line]:
  found, folder = runs[0]
  nearest = comparison.row_of(found.config)
  if nearest is None:
    return comparison.lines(runs, folder.name, ())
  row, departs = nearest
  return comparison.lines(runs, folder.name, row.scores, row.dataset, departs)


def _theirs(
  dataset: str,
  method: str,
  metric: str,
  found: Sequence[tuple[str, outside.Training]],
) -> report.Line:
  """One line of somebody else's trainings."""
  key = method, metric
  return report.Line(
    found[0][0],
    dataset,
    method,
    metric,
    tuple(one.values[key] for _, one in found),
    found[0][1].ends.get(key) if len(found) == 1 else None,
    tuple(published.find(dataset, method, metric)),
  )


if __name__ == "__main__":
  cli.run(main, words=True)
