"""Predictions for a folder of images: a table first, overlays beside it."""

from collections.abc import Iterable, Iterator, Sequence
import concurrent.futures
import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np

from medad_jax import files
from medad_jax.augment import geometry
from medad_jax.data import decode, preparation, reading, scans, volumes
from medad_jax.engine import alarms, cells, progress, scorer
from medad_jax.engine.trained import Trained
from medad_jax.engine.workdir import Workdir
from medad_jax.report import capture, overlay
from medad_jax.types import UserError

HEADER = ("file", "patient", "score", "p_value", "flag", "reason")
TABLE = "scores.csv"
OVERLAYS, CAPTURES = "overlays", "dicom"  # folders of an output
_SHOWN = 512  # pixels of the longer side of an overlay


@dataclasses.dataclass(frozen=True)
class Wanted:
  """Choice of what is made beside the table.

  Attributes:
    overlays: whether images with marks are drawn.
    captures: whether those of DICOM files are also written as DICOM.
  """

  overlays: bool = True
  captures: bool = False


@dataclasses.dataclass(frozen=True)
class _Job:
  """Everything that a chunk of files needs.

  Attributes:
    model: what scores.
    alarm: of its headline; None where no image was held out.
    frame: what pictures become.
    axis: that volumes are cut across.
    images: the folder of the files.
    out: where overlays go.
    wanted: what is made beside the table.
  """

  model: Trained
  alarm: alarms.Alarms | None
  frame: decode.Frame
  axis: volumes.Axis
  images: Path
  out: Path
  wanted: Wanted

  @property
  def stretches(self) -> bool:
    """True if a map lies over the whole picture, as the file has it."""
    data = self.model.settings.data
    plain = preparation.parse("stretch", data.stored)
    own = preparation.parse(data.tested, data.stored)
    return own == plain and data.stored == data.image_size


def predict(
  workdir: Path,
  images: Path,
  out: Path,
  *,
  shard: str | None = None,
  wanted: Wanted | None = None,
) -> Path:
  """Scores all images below a folder; a killed run goes on where it was.

  A file without a sound image is a row with the reason.

  Args:
    workdir: of a finished run.
    images: folder of the files.
    out: where scores.csv and overlays/ go; with a shard, scores_3_of_16.csv.
    shard: the part of the files to do, such as "3/16"; None for all.
    wanted: what is made beside the table.

  Returns:
    The table.

  Raises:
    UserError: there is no finished run, no image, or `out` cannot be written.
  """
  # First, as it takes no time: a folder without images is told at once.
  paths = scans.shard(scans.find(images), shard)
  job = _job(workdir, images, out, wanted or Wanted())
  places = scans.places(paths, job.axis)
  files.make_folder(out)
  if shard is None:
    path = out / TABLE
    with Workdir(out).locked():
      _claim(path, workdir, images)
      _write(path, places, job)
    return path
  # Shards share the folder, which no single process may lock; whoever starts
  # them gives each to one.
  path = out / _part(shard)
  unfinished = path.with_suffix(".part")
  _claim(path, workdir, images)
  if path.exists():  # files may have come since
    path.replace(unfinished)
  _write(unfinished, places, job)
  # `merge` sees finished tables alone.
  unfinished.replace(path)
  return path


def _job(workdir: Path, images: Path, out: Path, wanted: Wanted) -> _Job:
  # Before anything asks JAX for its devices, which it makes of a CPU's cores.
  model = Trained.load(workdir)
  if model.codes:
    raise UserError(
      f"the method reads the columns {', '.join(model.codes)}, which files have"
      " not; evaluate a built set instead."
    )
  data, evaluation = model.settings.data, model.settings.evaluation
  found = alarms.of_run(workdir, model.method.score_names[-1], evaluation)
  alarm = next(iter(found), None)
  frame = decode.Frame(data.stored, data.channels, data.tested)
  return _Job(model, alarm, frame, data.axis, images, out, wanted)


def merge(out: Path) -> Path:
  """Joins the tables of all shards into scores.csv, in the order of files.

  Raises:
    UserError: a shard is absent or unfinished, or they are of several runs.
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
  known = [claimed(part) for part in parts]
  if any(one != known[0] for one in known):
    raise UserError(
      f"the tables in {out} are of several runs or folders of images; run all"
      " shards with the same --workdir and --images, into another --out."
    )
  lines = [row for part in parts for row in rows(part)]
  # As `scans.find` sorts them: part by part of a path, not by its letters.
  lines.sort(key=lambda row: Path(row[0]))
  files.write(out / TABLE, _text() + _text(lines))
  files.write_json(_beside(out / TABLE), known[0])
  return out / TABLE


def _write(path: Path, places: Sequence[scans.Place], job: _Job) -> None:
  """Appends the rows of all images that have none yet, chunk after chunk."""
  done = _resume(path)
  todo = [p for p in places if p.name(job.images) not in done]
  size = job.model.settings.evaluation.batch_size
  chunks = [todo[at : at + size] for at in range(0, len(todo), size)]
  shown = _SHOWN if job.wanted.overlays or job.wanted.captures else 0
  try:
    with (
      path.open("a", newline="", encoding="utf-8") as table,
      reading.Reader(job.images, job.frame, job.axis, shown) as reader,
      progress.Progress("predicting", len(places), len(done)) as bar,
    ):
      if not table.tell():
        table.write(_text())
      for part, read in _ahead(reader, chunks):
        # Whole chunks, which a killed run repeats: overlays are written before
        # their rows, so that no row lacks its overlay.
        table.write(_text(_chunk(part, read, job)))
        table.flush()
        bar.add(len(part))
  except OSError as error:
    raise files.unwritable(path, error) from error


def _ahead(
  reader: reading.Reader, chunks: Sequence[Sequence[scans.Place]]
) -> Iterator[tuple[Sequence[scans.Place], list[reading.Read]]]:
  """Yields each chunk and its images; the next one is read meanwhile."""
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    coming = pool.submit(reader.all, chunks[0] if chunks else ())
    # Nothing follows the last one, and nothing is left of a finished run.
    for part, after in zip(chunks, [*chunks[1:], ()], strict=False):
      read = coming.result()
      coming = pool.submit(reader.all, after)
      yield part, read


def _chunk(places, read: list[reading.Read], job: _Job) -> list[Sequence[Any]]:
  """The rows of some images; their overlays are written."""
  sound = {k: x.pixels for k, x in enumerate(read) if x.pixels is not None}
  values: list[tuple] = [("", "", "")] * len(read)
  if sound:
    scored = _scored(np.stack(list(sound.values())), job)
    for k, (row, map_) in zip(sound, scored, strict=True):
      values[k] = row
      _draw(places[k], read[k], row, map_, job)
  return [
    (place.name(job.images), one.patient, *value, one.reason)
    for place, one, value in zip(places, read, values, strict=True)
  ]


def _scored(images: np.ndarray, job: _Job) -> Iterator[tuple[tuple, Any]]:
  """Yields score, p-value and flag of each image, and its map or None."""
  # The program and the middle that an evaluation takes: the same bits.
  images = geometry.center(images, job.model.shape[0])
  name = job.model.method.score_names[-1]
  for count, found in job.model.batches(images):
    host = scorer.on_host(found, count)
    # The first seed's, where there are several.
    values = np.asarray(host.scores.image[name][:, 0], float)
    p = flags = [""] * count
    if job.alarm is not None:
      p = [f"{value:.6g}" for value in job.alarm.p_values(values)]
      flags = job.alarm.flags(values)
    maps = host.scores.maps.get(name)
    for k in range(count):
      # Nine digits give back the same float32.
      row = f"{values[k]:.9g}", p[k], flags[k]
      yield row, None if maps is None else maps[k, 0]


def _draw(place: scans.Place, read: reading.Read, row, map_, job: _Job) -> None:
  """Writes the image with marks, where there is a map of the headline."""
  picture = read.shown
  if picture is None or map_ is None or job.alarm is None:
    return
  if not job.stretches and read.pixels is not None:
    pixels = geometry.center(read.pixels[None], job.model.shape[0])[0]
    picture = overlay.picture(pixels)
  drawn = overlay.draw(picture, map_, job.alarm.anchor, job.alarm.span)
  name = place.name(job.images)
  if job.wanted.overlays:
    files.write(job.out / OVERLAYS / f"{name}.png", overlay.png(drawn))
  if job.wanted.captures and scans.is_dicom(place.path):
    said = f"anomaly score {row[0]}, p-value {row[1]}, flag {row[2] or 'none'}"
    content = capture.content(drawn, place.path, said)
    files.write(job.out / CAPTURES / f"{name}.dcm", content)


def _claim(path: Path, workdir: Path, images: Path) -> None:
  """Ties a table to a run and a folder.

  Raises:
    UserError: it is of others.
  """
  facts = {"workdir": str(workdir.resolve()), "images": str(images.resolve())}
  if not _beside(path).exists():
    files.write_json(_beside(path), facts)
    return
  known = claimed(path)
  # Rows of two models in one table could not be told apart.
  if known != facts:
    raise UserError(
      f"{path} is of the run {known.get('workdir')} and the folder"
      f" {known.get('images')}; give another --out."
    )


def claimed(path: Path) -> dict[str, str]:
  """The run and the folder of images that a table is of.

  Raises:
    UserError: it does not say.
  """
  return files.read_json(_beside(path), "remove it with its table")


def _beside(path: Path) -> Path:
  return path.with_suffix(".json")


def _resume(path: Path) -> set[str]:
  """Images that have a row; an unfinished last line is cut off."""
  if not path.exists():
    return set()
  text = path.read_bytes()
  # A quoted name may hold a line's end; a file system rarely does.
  whole = text[: text.rfind(b"\n") + 1]
  if len(whole) < len(text):
    files.write(path, whole)
  if not whole:
    return set()
  return {row[0] for row in rows(path)}


def rows(path: Path) -> Iterator[list[str]]:
  """Yields the rows of a table, below its header.

  Raises:
    UserError: it is no table of predictions.
  """
  with path.open(newline="", encoding="utf-8") as file:
    read = csv.reader(file)
    if tuple(next(read, ())) != HEADER:
      raise UserError(
        f"{path} is no table of predictions; give another --out, or remove it."
      )
    for name, patient, *rest in read:
      yield [cells.path(name), cells.text(patient), *rest]


def _text(lines: Iterable[Sequence[Any]] = (HEADER,)) -> str:
  """The text of some rows, by default of the header."""
  text = io.StringIO(newline="")
  csv.writer(text, lineterminator="\n").writerows(
    (cells.of_path(name), cells.of_text(patient), *rest)
    for name, patient, *rest in lines
  )
  return text.getvalue()


def _part(shard: str) -> str:
  number, _, count = shard.partition("/")
  return f"scores_{int(number):0{len(count)}d}_of_{count}.csv"
