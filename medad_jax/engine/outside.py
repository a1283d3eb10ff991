"""Results that the PyTorch projects leave behind, and files of scores.

DDAD-ASR       results.txt, refine/refine_{dual,intra}_results.csv
MedIAnomaly    DATASET/METHOD/fold_K/metrics.txt
DPA            results.csv (niter, ROC AUC)
scores         a text or CSV file with a label and a score an image, or the
               files normal/anomaly_scores.csv and anomaly/anomaly_scores.csv
"""

from collections.abc import Callable, Mapping
import csv
import dataclasses
from pathlib import Path
import re

import numpy as np

from medad_jax.scoring import intervals, metrics
from medad_jax.types import UserError

UNKNOWN = "unknown set"
# Names of DDAD-ASR's sets and nets, as its folders have them.
_SETS = {"rsna": "rsna", "vin": "vin", "bratumor": "brain", "lag": "lag"}
_NETS = {"ae": "ae", "aeu": "aeu", "memae": "memae"}
_SCORES = {
  "rec. (ensemble)": "rec",
  "ddad-intra": "intra",
  "ddad-inter": "inter",
}
_DDAD = re.compile(r"^(.+?)\s+AUC:\s*([\d.]+)\s+AP:\s*([\d.]+)")
_METRICS = {
  "AUC": "auroc",
  "AP": "ap",
  "PixAUC": "pixel_auroc",
  "PixAP": "pixel_ap",
  "BestDice": "oracle_dice",
}
_LABELS = ("label", "y_true", "target", "class")
# Columns of a table of scores that hold none.
_NO_SCORES = re.compile(r"(id|name|set|index|p_value.*|flag.*|)$")


@dataclasses.dataclass(frozen=True)
class Training:
  """One training of somebody else's, as far as its files tell.

  Attributes:
    dataset: as `published` calls it, or `UNKNOWN`.
    values: by method and metric.
    ends: intervals of some of them, where scores of images are there.
  """

  dataset: str
  values: Mapping[tuple[str, str], float]
  ends: Mapping[tuple[str, str], intervals.Interval] = dataclasses.field(
    default_factory=dict
  )


def read(path: Path, dataset: str = "", method: str = "") -> list[Training]:
  """The trainings that a folder or a file holds.

  Args:
    path: of one of the layouts above.
    dataset: what `published` calls the set; "" goes by the path.
    method: what it calls the method; "" goes by the path.

  Raises:
    UserError: there is nothing of the kind, or a file is not what it seems.
  """
  for reader in (_ddad, _medianomaly, _dpa, _two_folders, _score_files):
    try:
      if found := reader(path, dataset, method):
        return found
    except (ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
      raise UserError(
        f"{path} cannot be read as {_LAYOUTS[reader]}"
        f" ({' '.join(str(error).split())}); restore it."
      ) from error
  raise UserError(
    f"{path} holds no results; give the work folder of a run, a folder with"
    f" {', '.join(_LAYOUTS.values())}, or a file with a label and a score an"
    " image."
  )


def _ddad(path: Path, dataset: str, method: str) -> list[Training]:
  place = path if path.is_dir() else path.parent
  found: dict[str, dict[str, float]] = {}
  # Written by its evaluation, three lines; the refinement has a table of its
  # own, with a row an epoch.
  main = place / "results.txt"
  if main.is_file():
    for line in main.read_text().splitlines():
      if match := _DDAD.match(line.strip()):
        score = _SCORES[match[1].lower()]
        found[score] = {"auroc": float(match[2]), "ap": float(match[3])}
  for kind in ("dual", "intra"):
    for table in (place / "refine", place):
      file = table / f"refine_{kind}_results.csv"
      if file.is_file():
        found[f"r_{kind}"] = _last_row(file)
  if not found:
    return []
  # Its folders are output/NET/SET.
  net = _NETS.get(place.parent.name.lower().replace("-", ""), "ae")
  method = method or f"ddad-{net}"
  dataset = dataset or _SETS.get(place.name.lower(), UNKNOWN)
  values = {
    (f"{method}/{score}", metric): value
    for score, own in found.items()
    for metric, value in own.items()
  }
  return [Training(dataset, values)]


def _last_row(file: Path) -> dict[str, float]:
  """AUC and AP of the last epoch, which is the one that is saved."""
  with file.open(encoding="utf-8", newline="") as table:
    *_, last = csv.DictReader(table)
  named = {(name or "").strip().lower(): value for name, value in last.items()}
  return {"auroc": float(named["auc"]), "ap": float(named["ap"])}


def _medianomaly(path: Path, dataset: str, method: str) -> list[Training]:
  if path.is_dir():
    files = [path / "metrics.txt", *sorted(path.glob("fold_*/metrics.txt"))]
  else:
    files = [path] if path.name == "metrics.txt" else []
  found = []
  for file in filter(Path.is_file, files):
    pairs = [line.partition(":") for line in file.read_text().splitlines()]
    named = {key.strip(): value for key, _, value in pairs}
    # A fold is a repetition here, with all images.
    in_fold = file.parent.name.startswith("fold_")
    run = file.parent.parent if in_fold else file.parent
    name = method or run.name
    values = {
      (name, metric): float(named[key])
      for key, metric in _METRICS.items()
      if key in named
    }
    if not values:
      raise ValueError("it has no line 'AUC: value'")
    found.append(Training(dataset or run.parent.name or UNKNOWN, values))
  return found


def _dpa(path: Path, dataset: str, method: str) -> list[Training]:
  file = path / "results.csv" if path.is_dir() else path
  if file.name != "results.csv" or not file.is_file():
    return []
  with file.open(encoding="utf-8", newline="") as table:
    *_, last = csv.DictReader(table)
  # As a share already.
  value = float(last["ROC AUC"])
  values = {(method or path.name, "auroc"): value}
  return [Training(dataset or UNKNOWN, values)]


def _two_folders(path: Path, dataset: str, method: str) -> list[Training]:
  parts = [path / kind / "anomaly_scores.csv" for kind in ("normal", "anomaly")]
  if not all(part.is_file() for part in parts):
    return []
  each = []
  for part in parts:
    with part.open(encoding="utf-8", newline="") as table:
      rows = list(csv.DictReader(table))
    each.append([float(row["Anomaly Scores"]) for row in rows])
  # The folder is the label.
  labels = np.repeat([0, 1], [len(part) for part in each])
  scores = np.concatenate([np.array(part) for part in each])
  return [_ranked(labels, scores, dataset, method or path.name)]


def _score_files(path: Path, dataset: str, method: str) -> list[Training]:
  """One training a file and score column."""
  files = sorted(path.glob("*")) if path.is_dir() else [path]
  found = []
  for file in files:
    if file.suffix not in (".csv", ".txt") or not file.is_file():
      continue
    table = _table(file)
    # Notes and other tables may lie beside them.
    if table is None:
      continue
    labels, columns = table
    for title, scores in columns.items():
      # Columns of seeds, and files run_0 and run_1, are one method's.
      name = title.partition("@")[0] if len(columns) > 1 else file.stem
      name = re.sub(r"[_-]?(run|seed|fold)?[_-]?\d+$", "", name) or name
      found.append(_ranked(labels, scores, dataset, method or name))
  return found


def _table(file: Path) -> tuple[np.ndarray, dict[str, np.ndarray]] | None:
  """Labels and columns of scores; None where the file is something else."""
  with file.open(encoding="utf-8", newline="") as text:
    # NumPy writes a header as a comment.
    lines = (line.removeprefix("#").strip() for line in text)
    header, *rows = [
      [cell.strip() for cell in row] for row in csv.reader(lines) if row
    ] or [[]]
  places = [i for i, name in enumerate(header) if name.lower() in _LABELS]
  if not places:
    return None
  labels = np.array([float(row[places[0]]) for row in rows]).astype(int)
  columns = {
    name: np.array([float(row[i]) for row in rows])
    for i, name in enumerate(header)
    if i != places[0] and not _NO_SCORES.match(name.lower())
  }
  return labels, columns


def _ranked(
  labels: np.ndarray, scores: np.ndarray, dataset: str, method: str
) -> Training:
  found = metrics.rank(labels, scores)
  if found.auroc is None or found.ap is None:
    raise ValueError("one class is missing")
  ends = {"auroc": found.auroc_ci, "ap": found.ap_ci}
  return Training(
    dataset or UNKNOWN,
    {(method, "auroc"): found.auroc, (method, "ap"): found.ap},
    {(method, k): interval for k, interval in ends.items() if interval},
  )


_Reader = Callable[[Path, str, str], list[Training]]
_LAYOUTS: Mapping[_Reader, str] = {
  _ddad: "results.txt of DDAD-ASR",
  _medianomaly: "metrics.txt of MedIAnomaly",
  _dpa: "results.csv of DPA",
  _two_folders: "normal/anomaly_scores.csv and anomaly/anomaly_scores.csv",
  _score_files: "files of scores",
}
