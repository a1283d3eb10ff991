"""No test label is in reach of training and of the choice of a checkpoint."""

import gc

import numpy as np
import pytest

from medad_jax.data import spec
from medad_jax.engine import config as configuration
from medad_jax.engine import evaluation, experiment, material, train
from tests.engine import experiment_test
from tests.methods import contract_test as contract


def held():
  """Splits of test images that anything at all refers to."""
  gc.collect()
  splits = [o for o in gc.get_objects() if isinstance(o, spec.Split)]
  return [s for s in splits if s.names and s.names[0].startswith("test_")]


def test_test_labels_are_nowhere_until_the_evaluation(tmp_path, monkeypatch):
  seen = []
  prepare, trained = material.prepare, train.train

  def kept(*arguments):
    seen.append(prepare(*arguments))
    return seen[-1]

  def watched(stages, shared):
    # What the training is given, and what it was taken from.
    with pytest.raises(KeyError, match="test"):
      seen[0].dataset.splits["test"].labels.tolist()
    assert held() == []
    found = trained(stages, shared)
    assert held() == []
    return found

  def evaluated(model, dataset, folder, out, save=()):
    labels = dataset.splits["test"].labels
    assert np.array_equal(labels, np.arange(12) % 2)
    raise evaluation.UserError("far enough")

  monkeypatch.setattr(material, "prepare", kept)
  monkeypatch.setattr(train, "train", watched)
  monkeypatch.setattr(evaluation, "evaluate", evaluated)
  experiment_test.write_set(tmp_path, (16, 16, 1))
  fields = {
    "data.name": "tiny",
    "data.dir": str(tmp_path),
    "data.image_size": 16,
    "validation.share": 0.25,
    "validation.every": 1,
    "select": "validation_loss",
  }
  config = configuration.with_hyper(contract.small_config("ae"), fields)
  before = len(held())
  assert before == 0
  with pytest.raises(evaluation.UserError, match="far enough"):
    experiment.train_and_evaluate(config, tmp_path / "run")


def test_a_held_split_would_be_found():
  one = spec.Split(
    np.zeros((1, 2, 2, 1), np.uint8), np.ones(1, int), ("test_0",)
  )
  assert len(held()) == 1
  del one
