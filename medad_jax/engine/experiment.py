"""Runs from configurations: the work behind `main` and `evaluate`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
from pathlib import Path
from typing import Any

from medad_jax import files
from medad_jax.data import columns, index, spec
from medad_jax.engine import (
  alarms,
  calibration,
  checkpoint,
  environment,
  evaluation,
  feasible,
  material,
  members,
  opening,
  processes,
  reuse,
  run,
  train,
  trained,
  writers,
)
from medad_jax.engine import config as configuration
from medad_jax.engine.devices import Devices
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
  with _trained(config, workdir, given=dataset) as (model, data, folder):
    tests = dataset or _tests(model, folder, data)
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
  # Nothing is evaluated: `evaluate` does that, from the folder alone.
  with _trained(config, workdir, place):
    pass


@contextlib.contextmanager
def _trained(
  config: Mapping[str, Any],
  workdir: Path,
  place: Callable[[Workdir], None] = lambda folder: None,
  given: spec.Dataset | None = None,
) -> Iterator[tuple[trained.Trained, material.Material, Workdir]]:
  """The trained model, its data and its folder, which stays locked."""
  settings = configuration.settings_of(config)
  method = configuration.build_method(config)
  stages = trained.stages_of(settings, method)
  feasible.check_selection(settings, config["method"], stages)
  # Before JAX is asked for its devices, which this may make of a CPU's cores.
  devices = trained.devices_of(settings, stages)
  feasible.check(config, settings, stages)
  data = material.prepare(settings, stages, devices, given)
  trials = members.seeds(settings.seed, settings.seeds)
  feasible.check_steps(stages, data.pools, trials)
  origins = _origins(stages)
  other = _other_run(settings.reuse)
  folder = Workdir(workdir)
  # Locked before it is read: another run may be writing a checkpoint.
  with folder.locked():
    folder.claim(config, material.identity(data.dataset))
    folder.keep_codes(data.codes)
    _remember(workdir, origins)
    place(folder)
    with contextlib.closing(writers.Writers(workdir, processes.first())) as log:
      # Before `_record_start`, which asks which stages have finished.
      checkpoint.recover(workdir / "checkpoints", log.note)
      _record_start(folder, config, stages, settings.seeds, devices, log)
      shared = run.Run(
        workdir=workdir,
        log=log,
        feed=data.feed,
        pools=data.pools,
        shape=settings.data.shape,
        trials=trials,
        devices=devices,
        steps_per_call=settings.steps_per_call,
        checkpoint_seconds=settings.checkpoint_seconds,
        scoring_batch=settings.evaluation.batch_size,
        validate_every=settings.validation.every,
        select=settings.select,
        keep_checkpoints=settings.keep_checkpoints,
        # What was imported is no result of this training.
        data_text=f"{data.dataset.fingerprint} {settings.data.trained}"
        f"{folder.imported_text()}",
        method=method,
        reuse=other,
        newer={} if other is None else reuse.newer(other),
        columns=data.columns,
        view=settings.data.view,
      )
      states = train.train(stages, shared)
    model = trained.Trained(config, method, states, devices, data.codes)
    _calibrate(model, shared, data.texts)
    yield model, data, folder


def _calibrate(
  model: trained.Trained, shared: run.Run, texts: columns.Texts
) -> None:
  """Keeps the held-out images' scores with the checkpoints."""
  if model.config["until"] is not None:
    return  # a part of the method has other scores
  rows = shared.pools[index.HELD_OUT]
  calibration.keep(model, shared.images, rows, shared.workdir, texts)


def _tests(
  model: trained.Trained, folder: Workdir, trained_on: material.Material
) -> spec.Dataset:
  """The test splits; of a folder of normal images, which has none, itself."""
  data = model.settings.data
  if data.normal is not None:
    return trained_on.dataset
  # With those that trained: a list of files is known by all that is used of it.
  splits = (*trained_on.dataset.splits, "test")
  dataset = opening.open_data(data, splits)
  # The set may have been built anew during the training.
  folder.check_data(material.identity(dataset))
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
    dataset = opening.open_tests(data, folder.data())
    if "test" not in dataset.splits:
      raise UserError(
        f"{workdir} was trained on {data.on_disk}, without test images; score a"
        " folder with python -m medad_jax.predict."
      )
    # The same name may hold different images by now.
    folder.check_data(material.identity(dataset))
    found = _evaluate(model, dataset, folder, out, save)
    assert found is not None  # as there are test images
    return found


def test_images(model: trained.Trained) -> spec.Split:
  """A run's main test set, as the model scores it.

  Raises:
    UserError: it has none.
  """
  data = model.settings.data
  splits = opening.open_data(data, ("test",)).splits
  if "test" not in splits:  # images on disk, without a list of tests
    raise UserError(
      f"{data.on_disk} has no test images to compare on; leave --verify out, or"
      " import with the configuration of a data set."
    )
  return splits["test"].center(model.shape[0])


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
  for sentence in table.weights_sentences(evaluation.weights_of(workdir)):
    print(sentence)
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
