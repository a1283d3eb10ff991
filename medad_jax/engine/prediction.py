"""Predictions for a folder of images: a table first, overlays beside it."""

from collections.abc import Iterator, Sequence
import concurrent.futures
import csv
import dataclasses
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import tqdm

from medad_jax import files
from medad_jax.augment import geometry
from medad_jax.data import decode, scans
from medad_jax.engine import alarms, scorer
from medad_jax.engine.trained import Trained
from medad_jax.engine.workdir import Workdir
from medad_jax.report import overlay
from medad_jax.types import UserError

HEADER = ("file", "patient", "score", "p_value", "flag", "reason")
_TABLE = "scores.csv"


@dataclasses.dataclass(frozen=True)
class _Job:
  """Everything that a chunk of files needs.

  Attributes:
    model: what scores.
    alarm: of its headline; None where no image was held out.
    frame: what pictures become.
    images: the folder of the files.
    out: where overlays go; None for none.
  """

  model: Trained
  alarm: alarms.Alarms | None
  frame: decode.Frame
  images: Path
  out: Path | None


def predict(
  workdir: Path,
  images: Path,
  out: Path,
  *,
  shard: str | None = None,
  overlays: bool = True,
) -> Path:
  """Scores all images below a folder; a killed run goes on where it was.

  A file without a sound image is a row with the reason.

  Args:
    workdir: of a finished run.
    images: folder of the files.
    out: where scores.csv and overlays/ go; with a shard, scores_3_of_16.csv.
    shard: the part of the files to do, such as "3/16"; None for all.
    overlays: whether images with marks are drawn.

  Returns:
    The table.

  Raises:
    UserError: there is no finished run, no image, or `out` cannot be written.
  """
  # First, as it takes no time: a folder without images is told at once.
  paths = scans.shard(scans.find(images), shard)
  job = _job(workdir, images, out / "overlays" if overlays else None)
  size = job.model.settings.evaluation.batch_size
  files.make_folder(out)
  if shard is None:
    path = out / _TABLE
    with Workdir(out).locked():
      _claim(path, workdir, images)
      _write(path, paths, job, size)
    return path
  # Shards share the folder, which no single process may lock; whoever starts
  # them gives each to one.
  path = out / _part(shard)
  unfinished = path.with_suffix(".part")
  _claim(path, workdir, images)
  if path.exists():  # files may have come since
    path.replace(unfinished)
  _write(unfinished, paths, job, size)
  # `merge` sees finished tables alone.
  unfinished.replace(path)
  return path


def _job(workdir: Path, images: Path, overlays: Path | None) -> _Job:
  # Before anything asks JAX for its devices, which it makes of a CPU's cores.
  model = Trained.load(workdir)
  if model.codes:
    raise UserError(
      f"the method reads the columns {', '.join(model.codes)}, which files have"
      " not; evaluate a built set instead."
    )
  data, wanted = model.settings.data, model.settings.evaluation
  found = alarms.of_run(workdir, model.method.score_names[-1], wanted)
  alarm = next(iter(found), None)
  if alarm and alarm.refused:
    print(f"no threshold: {alarm.refused}")
  frame = decode.Frame(data.stored, data.channels, data.tested)
  return _Job(model, alarm, frame, images, overlays)


def merge(out: Path) -> Path:
  """Joins the tables of all shards into scores.csv, in the order of files.

  Raises:
    UserError: a shard is absent or unfinished.
  """
  parts = sorted(out.glob("scores_*_of_*.csv"))
  if not parts:
    raise UserError(f"{out} holds no scores_N_of_M.csv; run --shard=N/M first.")
  count = int(parts[0].stem.rpartition("_")[2])
  absent = [
    f"{n}/{count}"
    for n in range(1, count + 1)
    if not (out / _part(f"{n}/{count}")).exists()
  ]
  if absent or len(parts) != count:
    raise UserError(
      f"{out} holds {len(parts)} tables of {count} shards; run"
      f" {', '.join(absent[:8]) or 'all of one count into one folder'}."
    )
  rows = [row for part in parts for row in _rows(part)]
  # As `scans.find` sorts them: part by part of a path, not by its letters.
  rows.sort(key=lambda row: Path(row[0]))
  files.write(out / _TABLE, _text([HEADER, *rows]))
  return out / _TABLE


def _write(path: Path, paths: Sequence[Path], job: _Job, size: int) -> None:
  """Appends the rows of all files that have none yet, chunk after chunk."""
  done = _resume(path)
  todo = [p for p in paths if _name(p, job.images) not in done]
  try:
    with path.open("a", newline="", encoding="utf-8") as table:
      if not table.tell():
        table.write(_text([HEADER]))
      bar = tqdm.tqdm(
        desc="predicting",
        total=len(paths),
        initial=len(paths) - len(todo),
        unit="image",
        disable=None,
      )
      with bar, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for at in range(0, len(todo), size):
          part = todo[at : at + size]
          # Whole chunks, which a killed run repeats: overlays are written
          # before their rows, so that no row lacks its overlay.
          table.write(_text(_chunk(part, job, pool)))
          table.flush()
          bar.update(len(part))
  except OSError as error:
    raise files.unwritable(path, error) from error


def _chunk(paths, job: _Job, pool) -> list[Sequence[Any]]:
  """The rows of some files."""
  # Threads: Pillow decodes and resizes without the interpreter's lock.
  read = list(pool.map(lambda path: _read(path, job.frame), paths))
  sound = [k for k, (pixels, _, _) in enumerate(read) if pixels is not None]
  scored = _scored(np.stack([read[k][0] for k in sound]), job) if sound else {}
  rows: list[Sequence[Any]] = []
  for k, (path, (_, patient, reason)) in enumerate(
    zip(paths, read, strict=True)
  ):
    values = ("", "", "")
    if k in sound:
      values = scored["rows"][sound.index(k)]
    rows.append((_name(path, job.images), patient, *values, reason))
  if job.out and sound:
    for k, drawn in zip(sound, scored["overlays"], strict=True):
      target = job.out / f"{_name(paths[k], job.images)}.png"
      if drawn is not None:
        files.write(target, overlay.png(drawn))
  return rows


def _scored(images: np.ndarray, job: _Job) -> dict[str, list]:
  """Rows of score, p-value and flag, and overlays."""
  # The program and the middle that an evaluation takes: the same bits.
  images = geometry.center(images, job.model.shape[0])
  name = job.model.method.score_names[-1]
  rows: list = []
  drawn: list = []
  at = 0
  for count, found in job.model.batches(images):
    host = scorer.on_host(found, count)
    # The first seed's, where there are several.
    values = np.asarray(host.scores.image[name][:, 0], float)
    p = flags = [""] * count
    if job.alarm is not None:
      p = [f"{value:.6g}" for value in job.alarm.p_values(values)]
      flags = job.alarm.flags(values)
    # Nine digits give back the same float32.
    rows += zip([f"{v:.9g}" for v in values], p, flags, strict=True)
    maps = host.scores.maps.get(name)
    for image, k in zip(images[at : at + count], range(count), strict=True):
      drawn.append(_overlay(image, maps, k, job))
    at += count
  return {"rows": rows, "overlays": drawn}


def _claim(path: Path, workdir: Path, images: Path) -> None:
  """Ties a table to a run and a folder.

  Raises:
    UserError: it is of others.
  """
  facts = {"workdir": str(workdir.resolve()), "images": str(images.resolve())}
  beside = path.with_suffix(".json")
  if not beside.exists():
    files.write_json(beside, facts)
    return
  known = files.read_json(beside, "remove it with its table")
  # Rows of two models in one table could not be told apart.
  if known != facts:
    raise UserError(
      f"{path} is of the run {known.get('workdir')} and the folder"
      f" {known.get('images')}; give another --out."
    )


def _overlay(image, maps, k, job: _Job):
  """The image with marks; None where the method has no map of the headline."""
  if job.out is None or maps is None or job.alarm is None:
    return None
  return overlay.draw(image.astype(np.uint8), maps[k, 0], job.alarm.anchor)


def _read(path: Path, frame: decode.Frame):
  """Pixels or None, the patient, and the reason where there are none."""
  try:
    scan = scans.read(path)
    return frame.prepared(scan.picture), scan.patient, ""
  except scans.Unreadable as error:
    return None, "", str(error)


def _resume(path: Path) -> set[str]:
  """Files that have a row; an unfinished last line is cut off."""
  if not path.exists():
    return set()
  text = path.read_bytes()
  # A quoted name may hold a line's end; a file system rarely does.
  whole = text[: text.rfind(b"\n") + 1]
  if len(whole) < len(text):
    files.write(path, whole)
  if not whole:
    return set()
  return {row[0] for row in _rows(path)}


def _rows(path: Path) -> Iterator[list[str]]:
  with path.open(newline="", encoding="utf-8") as file:
    header, *rows = list(csv.reader(file))
  if tuple(header) != HEADER:
    raise UserError(
      f"{path} is no table of predictions; give another --out, or remove it."
    )
  return iter(rows)


def _text(rows) -> str:
  text = io.StringIO(newline="")
  csv.writer(text, lineterminator="\n").writerows(rows)
  return text.getvalue()


def _name(path: Path, images: Path) -> str:
  # A name that is no text, from a file system, is written with escapes.
  name = path.relative_to(images).as_posix()
  return name.encode("utf-8", "backslashreplace").decode()


def _part(shard: str) -> str:
  number, _, count = shard.partition("/")
  return f"scores_{int(number):0{len(count)}d}_of_{count}.csv"
