"""Evaluations of untrained models: what they score is of no matter."""

import dataclasses

import numpy as np

from medad_jax.data import spec
from medad_jax.engine import evaluation, members, trained
from medad_jax.engine.settings import Data, Evaluation, Settings
from medad_jax.engine.workdir import Workdir
from medad_jax.report import draw
from medad_jax.report.results import Results
from medad_jax.types import Fit
from tests import tiny


def make_config(size=16, channels=1, **changes):
  settings = Settings(
    data=Data(image_size=size, channels=channels), evaluation=Evaluation(8)
  )
  return dataclasses.asdict(settings) | {"method": "ddad"} | changes


CONFIG = make_config()


def initial(method, seeds=(0,), shape=tiny.SHAPE):
  """Untrained states."""
  trials = tuple(map(members.Trial, seeds))
  return {
    stage.name: members.init_states(stage, trials, shape)
    for stage in method.phases()
    if not isinstance(stage, Fit)
  }


def make_model(method, states, config=CONFIG):
  devices = tiny.devices(None, None, config["parallel"])
  return trained.Trained(config, method, states, devices)


def evaluate(
  method, states, data, folder, config=CONFIG, drawn=False, **options
):
  """Evaluate, with figures and page if `drawn`, and read the results back."""
  model = make_model(method, states, config)
  out = options.pop("out", folder)
  results, shown = evaluation.evaluate(
    model, data, Workdir(folder), out, **options
  )
  if drawn:  # in seconds
    draw.draw(out, results, shown, folder / "metrics.jsonl")
  assert Results.load(out / "results.json") == results
  return results


def dataset(labels, masks=True) -> spec.Dataset:
  labels = np.asarray(labels, np.int32)
  count = len(labels)
  images = tiny.images(count, seed=2)
  shapes = np.zeros(images.shape[:3], bool)
  shapes[labels == 1, 4:8, 4:8] = True
  names = tuple(f"scan_{i}.png" for i in range(count))
  split = spec.Split(images, labels, names, shapes if masks else None)
  return spec.Dataset("tiny", {"test": split}, "f" * 64, {"test": count})
