"""Runs from configurations: the work behind `main` and `evaluate`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from medad_jax import files
from medad_jax.data import alike, columns, feeds, index, joined, joint, spec
from medad_jax.engine import (
  alarms,
  calibration,
  checkpoint,
  environment,
  evaluation,
  feasible,
  members,
  processes,
  run,
  train,
  trained,
  writers,
)
from medad_jax.engine import config as configuration
from medad_jax.engine.devices import Devices
from medad_jax.engine.settings import Data, Settings
from medad_jax.engine.workdir import Workdir
from medad_jax.report import draw, results, table
from medad_jax.types import Phase, Pretrained, Stage, UserError
from medad_jax.weights import pretrained


def train_and_evaluate(
  config: Mapping[str, Any],
  workdir: Path,
  dataset: spec.Dataset | None = None,
) -> results.Results | None:
  """Trains what is not yet trained, then evaluates; None without test images.

  Args:
    config: plain values, as a `configs/` file gives them.
    workdir: the run's folder; a half-finished run in it is continued.
    dataset: in place of the set that the configuration names.

  Raises:
    UserError: the configuration, the data or the folder do not fit.
  """
  with _trained(config, workdir, given=dataset) as (model, material, folder):
    tests = dataset or _tests(model, folder, material)
    return _evaluate(model, tests, folder, workdir)


def complete(
  config: Mapping[str, Any], workdir: Path, place: Callable[[Workdir], None]
) -> None:
  """Makes a run of stages that were finished elsewhere, and trains the others.

  Args:
    config: plain values.
    workdir: the run's folder.
    place: puts finished stages into the folder, which is locked and claimed.

  Raises:
    UserError: as `train_and_evaluate`, or from `place`.
  """
  with _trained(config, workdir, place):
    pass  # nothing is evaluated


@contextlib.contextmanager
def _trained(
  config: Mapping[str, Any],
  workdir: Path,
  place: Callable[[Workdir], None] = lambda folder: None,
  given: spec.Dataset | None = None,
) -> Iterator[tuple[trained.Trained, "_Material", Workdir]]:
  """The trained model, its data and its folder, which stays locked."""
  settings = configuration.settings_of(config)
  method = configuration.build_method(config)
  stages = trained.stages_of(settings, method)
  feasible.check_selection(settings, config["method"], stages)
  # Before JAX is asked for its devices, which this may make of a CPU's cores.
  devices = trained.devices_of(settings, stages)
  feasible.check(config, settings, stages)
  material = _material(settings, stages, devices, given)
  trials = members.seeds(settings.seed, settings.seeds)
  feasible.check_steps(stages, material.pools, trials)
  origins = _origins(stages)
  other = _other_run(settings.reuse)
  folder = Workdir(workdir)
  # Locked before it is read: another run may be writing a checkpoint.
  with folder.locked():
    folder.claim(config, _identity(material.dataset))
    folder.keep_codes(material.codes)
    _remember(workdir, origins)
    place(folder)
    with contextlib.closing(writers.Writers(workdir, processes.first())) as log:
      # Before `_record_start`, which asks which stages have finished.
      checkpoint.recover(workdir / "checkpoints", log.note)
      _record_start(folder, config, stages, settings.seeds, devices, log)
      shared = run.Run(
        workdir=workdir,
        log=log,
        feed=material.feed,
        pools=material.pools,
        shape=settings.data.shape,
        trials=trials,
        devices=devices,
        steps_per_call=settings.steps_per_call,
        checkpoint_seconds=settings.checkpoint_seconds,
        scoring_batch=settings.evaluation.batch_size,
        validate_every=settings.validation.every,
        select=settings.select,
        # What was imported is no result of this training.
        data_text=f"{material.dataset.fingerprint} {settings.data.trained}"
        f"{folder.imported_text()}",
        method_text=repr(method),
        reuse=other,
        columns=material.columns,
        view=settings.data.view,
      )
      states = train.train(stages, shared)
    model = trained.Trained(config, method, states, devices, material.codes)
    _calibrate(model, shared, material.texts)
    yield model, material, folder


@dataclasses.dataclass(frozen=True)
class _Material:
  """Data that a run trains on and is tested with.

  Attributes:
    dataset: the splits that are trained on.
    feed: training images, the splits one after another.
    pools: rows of the feed by pool name, and those held out.
    texts: columns of the feed's rows by name.
    codes: of the columns that phases read.
  """

  dataset: spec.Dataset
  feed: feeds.Feed
  pools: Mapping[str, np.ndarray]
  texts: columns.Texts
  codes: columns.Codes

  @property
  def columns(self) -> Mapping[str, np.ndarray]:
    """Codes of the columns that phases read, of the feed's rows."""
    return columns.encode(self.texts, self.codes, len(self.feed.images))


def _calibrate(
  model: trained.Trained, shared: run.Run, texts: columns.Texts
) -> None:
  """Keeps the held-out images' scores with the checkpoints."""
  if model.config["until"] is not None:
    return  # a part of the method has other scores
  rows = shared.pools[index.HELD_OUT]
  calibration.keep(model, shared.images, rows, shared.workdir, texts)


def _material(
  settings: Settings,
  stages: Sequence[Stage],
  devices: Devices,
  given: spec.Dataset | None,
) -> _Material:
  """Opens the data and divides it among the pools of all stages."""
  wanted = {pool.name: pool for stage in stages for pool in stage.pools}
  used = index.splits_used(wanted.values())
  # Test images are asked for, so that a run without them ends here, and let go:
  # until the evaluation nothing holds their labels.
  dataset = given or _without_tests(_open(settings.data, (*used, "test")))
  counts = {name: len(dataset.splits[name]) for name in used}
  pools = index.make_pools(wanted.values(), counts)
  # One array for all splits: pools are rows of it, so members of different
  # pools share one feed.
  images = joined.join([dataset.splits[name].images for name in used])
  feed = _choose_feed(images, settings.data, devices)
  texts = columns.concatenate([dataset.splits[name].columns for name in used])
  inputs = [stage.inputs for stage in stages if isinstance(stage, Phase)]
  codes = columns.make_codes(
    texts, sorted({n for i in inputs for n in i.columns})
  )
  for one in inputs:
    limits = dict(zip(one.columns, one.classes, strict=False))
    columns.check_classes(texts, codes, limits)
  patients = columns.patients(texts)
  # Every image is read for it, which a run without divisions can spare.
  if settings.validation.share or any(pool.of > 1 for pool in wanted.values()):
    patients = alike.groups(images, patients)
  pools = index.hold_out(pools, settings.validation.share, patients)
  pools = index.fold(wanted.values(), pools, patients)
  if settings.data.sampling == "balanced":
    pools = {
      name: rows
      if name == index.HELD_OUT
      else index.balanced(rows, texts[columns.SET])
      for name, rows in pools.items()
    }
  return _Material(dataset, feed, pools, texts, codes)


def _without_tests(dataset: spec.Dataset) -> spec.Dataset:
  kept = {k: v for k, v in dataset.splits.items() if not spec.is_test(k)}
  return dataclasses.replace(dataset, splits=kept)


def _tests(
  model: trained.Trained, folder: Workdir, material: _Material
) -> spec.Dataset:
  """The test splits; of a folder of normal images, which has none, itself."""
  data = model.settings.data
  if data.normal is not None:
    return material.dataset
  dataset = _open(data, ("test",))
  # The set may have been built anew during the training.
  folder.check_data(_identity(dataset))
  return dataset


def evaluate_run(
  workdir: Path,
  data_dir: str | None = None,
  *,
  out: Path | None = None,
  save: Sequence[str] = (),
) -> results.Results:
  """Evaluates a finished run from its folder alone.

  Args:
    workdir: the run's folder; only read where `out` is another one.
    data_dir: where the test data are; None for where the run found them.
    out: where the files go; None for the run's folder.
    save: arrays to write beside scores.csv, of `evaluation.SAVED`.

  Returns:
    What `results.json` holds.

  Raises:
    UserError: there is no finished run, the test data are absent or others
      than those of the training, or `out` cannot be written.
  """
  evaluation.check_save(save)
  folder, out = Workdir(workdir), workdir if out is None else out
  # Before the data are opened: it decides how many devices a CPU has.
  model = trained.Trained.load(workdir)
  with Workdir(out).locked():  # before anything takes time
    data = configuration.settings_of(model.config).data
    if data_dir is not None:
      data = dataclasses.replace(data, dir=data_dir)
    dataset = _open(data, ("test",))
    if "test" not in dataset.splits:
      raise UserError(
        f"{workdir} was trained on {data.on_disk}, without test images; score a"
        " folder with python -m medad_jax.predict."
      )
    # The same name may hold different images by now.
    folder.check_data(_identity(dataset))
    found = _evaluate(model, dataset, folder, out, save)
    assert found is not None  # as there are test images
    return found


def test_images(model: trained.Trained) -> spec.Split:
  """A run's main test set, as the model scores it.

  Raises:
    UserError: it has none.
  """
  data = model.settings.data
  if data.normal is not None:
    raise UserError(f"a run of the folder {data.normal} has no test images.")
  return _open(data, ("test",)).splits["test"].center(model.shape[0])


def _choose_feed(
  images: np.ndarray | joined.Joined, data: Data, devices: Devices
) -> feeds.Feed:
  """The feed of the training images that was asked for, or that fits."""
  copies = _copies(devices)
  return feeds.choose(images, data.feed, data.resident_mb, copies=copies)


def _copies(devices: Devices) -> int:
  """Number of copies in one memory of what is on every device."""
  # Cores of a CPU that are devices share it.
  return len(devices.all) if devices.all[0].platform == "cpu" else 1


def _other_run(path: str | None) -> Path | None:
  """The run whose stages are taken over.

  Raises:
    UserError: there is none.
  """
  if path is None:
    return None
  folder = files.expanded(path)
  if not (folder / "checkpoints").is_dir():
    raise UserError(
      f"reuse={path} holds no checkpoints; set it to the work folder of a run"
      " that has finished a stage, or leave it out."
    )
  return folder


def _origins(stages: Iterable[Stage]) -> dict[str, str]:
  """Origins of pretrained weights; checked before anything is written."""
  origins: dict[str, str] = {}
  for stage in stages:
    if isinstance(stage, Pretrained):
      origins |= stage.origins
  return pretrained.provenances(origins)


def _remember(workdir: Path, origins: Mapping[str, str]) -> None:
  """Writes the origins beside the checkpoints, which hold the numbers."""
  path = workdir / evaluation.WEIGHTS
  if processes.first() and not path.exists():
    files.write_json(path, origins)


def _identity(dataset: spec.Dataset) -> dict[str, Any]:
  """Facts that tell a data set from another one of the same name."""
  facts = {"fingerprint": dataset.fingerprint, "counts": dict(dataset.counts)}
  return {dataset.name: facts}


def _record_start(
  folder: Workdir,
  config: Mapping[str, Any],
  stages: Sequence[Stage],
  trials: int,
  devices: Devices,
  log: writers.Writers,
) -> None:
  """Records what the training runs on, if there is something to train."""
  saved = folder.path / "checkpoints"
  # A run that is only evaluated again did not train on this machine.
  if all(checkpoint.Checkpoints(saved, s.name).finished for s in stages):
    return
  meshes = {
    stage.name: devices.layout(
      trials * stage.members, stage.length.batch_size
    ).mesh.shape
    for stage in stages
    if isinstance(stage, Phase)
  }
  # Not every method has the field.
  precision = config.get("model", {}).get("precision", "float32")
  if differ := folder.start(environment.describe(precision, meshes)):
    log.note(f"going on with {', '.join(differ)}")


def _open(data: Data, splits: tuple[str, ...]) -> spec.Dataset:
  with processes.first_before_others("data"):  # it may build and cache them
    if data.on_disk:
      return _open_disk(data, splits)
    of_tests = [name for name in splits if spec.is_test(name)]
    if data.tested == data.preparation or len(of_tests) == len(splits):
      return _open_built(data, data.tested, splits)
    tests = _open_built(data, data.tested, of_tests)
    others = [name for name in splits if not spec.is_test(name)]
    found = _open_built(data, data.preparation, others).splits
    # The further tests that come with the others are prepared as those.
    return dataclasses.replace(tests, splits={**found, **tests.splits})


def _open_built(data: Data, text: str, splits: Sequence[str]) -> spec.Dataset:
  return joint.open_sets(
    data.name,
    data.dir,
    image_size=data.stored,
    channels=data.channels,
    preparation=text,
    need=splits,
    further_tests=True,
    known=data.known,
  )


def _open_disk(data: Data, splits: tuple[str, ...]) -> spec.Dataset:
  """The user's images on disk; a test set where a list has one."""
  # Pillow is not needed where caches of built sets are read.
  from medad_jax.data import decode, folder, manifest

  if data.manifest:
    path = files.expanded(data.manifest)
    entries, base = manifest.read(path), path.parent
  else:
    base = files.expanded(data.normal or "")
    other = files.expanded(data.unlabelled) if data.unlabelled else None
    entries = manifest.of_folders(base, other)
  there = {entry.split for entry in entries}
  if absent := sorted(set(splits) - there - {"test"}):
    raise UserError(
      f"the method trains on the images {', '.join(absent)}, too, which"
      f" {data.on_disk} has not; give data.unlabelled=DIR (and"
      " data.anomaly_ratio=None), or choose another method."
    )
  if data.unlabelled and manifest.UNLABELLED not in splits:
    raise UserError(
      f"data.unlabelled={data.unlabelled} was given to a method that trains on"
      " normal images alone; leave it out, or choose configs/folder.py:ddad."
    )
  # A list may name images that this method does not use: they are not read.
  wanted = {k for k in there if k in splits or spec.is_test(k)}
  frame = decode.Frame(data.stored, data.channels, data.preparation)
  used = [entry for entry in entries if entry.split in wanted]
  return folder.open_folder(base, used, data.dir, frame, data.axis)


def _say_alarms(model: trained.Trained, workdir: Path) -> None:
  """Prints what a run without test images can do."""
  if not processes.first():
    return
  headline = model.method.score_names[-1]
  wanted = model.settings.evaluation
  found = alarms.of_run(workdir, headline, wanted)
  if not found:
    print(
      "no threshold: no image was held out; give more images, or of more"
      " patients, or raise validation.share."
    )
  # One sentence for each seed, since each has its own threshold.
  for alarm in found:
    print("\n".join(table.alarm_sentences(alarms.facts(alarm))))
  print(
    "there are no test images; score others with\n  python -m"
    f" medad_jax.predict --workdir={workdir} --images=DIR --out=OUT"
  )


def _evaluate(
  model: trained.Trained,
  dataset: spec.Dataset,
  folder: Workdir,
  out: Path,
  save: Sequence[str] = (),
) -> results.Results | None:
  if "test" not in dataset.splits:  # a folder of normal images
    _say_alarms(model, out)
    return None
  found, shown = evaluation.evaluate(model, dataset, folder, out, save)
  if processes.first():
    # Printed before the figures are drawn, which may fail.
    print(table.results_table(found))
    draw.draw(out, found, shown, folder.path / "metrics.jsonl")
    print(f"\nscores, figures and report.html are in {out}")
  return found
