"""MADDR's hosts on two sets of unequal sizes, from their caches to scores."""

import functools

import numpy as np
import pytest

from medad_jax.engine import config as configuration
from medad_jax.engine import experiment, writers
from tests.engine import columns_test as joined
from tests.killed import Killed
from tests.methods import contract_test as contract

# Codes with room for two heads and a center.
FIELDS = {
  "memae_2d": {"model.channels": (4, 6)},
  "dpa": {
    "model.latent": 6,
    "model.l1_weight": 0.1,
    "growth.sides": (),
    "growth.layers": (),
  },
  "ganomaly_original": {"model.latent": 6},
  "fanogan": {},
}
# Games leave a mesh's rounding further behind.
NEAR = {"ganomaly_original": 0.1, "fanogan": 0.1}


def write_sets(root):
  """Heads (16 for training) and chests (8), under organs and modalities."""
  both = (("heads", 16, "brain", "MR"), ("chests", 8, "chest", "X-ray"))
  for seed, (name, count, organ, modality) in enumerate(both):
    joined.write_set(
      root,
      name,
      seed,
      {"train": count, "test": 6},
      organ=joined.whole(organ),
      modality=joined.whole(modality),
    )


def config_of(host, root, **fields):
  settings = {
    "seeds": 2,
    "data.name": "heads,chests",
    "data.dir": str(root),
    "data.image_size": 16,
    "evaluation.batch_size": 8,
    "constraint.mode": "intended",
    "constraint.mix_from": 1,
    "constraint.mix_until": 2,
    "steps_per_call": 1,
    "checkpoint_seconds": 0.0,
  }
  return configuration.with_hyper(
    contract.small_config(host), settings | FIELDS[host] | fields
  )


def run(host, root, folder, **fields):
  """The scores [n, k] and the results of a training."""
  experiment.train_and_evaluate(config_of(host, root, **fields), folder)
  results, rows = joined.read(folder)
  headline = list(results["scores"])[-1]
  names = [f"{headline}@{seed}" for seed in (0, 1)]
  return np.array([[float(row[x]) for x in names] for row in rows]), results


class Cut(writers.Writers):
  """Ends the run after some lines of metrics."""

  left = 2

  def scalars(self, phase, step, values):
    if not self.left:
      raise Killed
    self.left -= 1
    super().scalars(phase, step, values)


@pytest.mark.parametrize(
  "host",
  [
    "memae_2d",
    pytest.param("dpa", marks=pytest.mark.slow),
    pytest.param("ganomaly_original", marks=pytest.mark.slow),
    pytest.param("fanogan", marks=pytest.mark.slow),
  ],
)
def test_a_host_is_the_same_on_any_mesh_and_resumed(
  undrawn, host, tmp_path, monkeypatch
):
  write_sets(tmp_path)
  train = functools.partial(run, host, tmp_path)
  one = {"mesh.member": 1, "mesh.batch": 1}
  scores, results = train(tmp_path / "one", **one)
  assert scores.shape == (12, 2) and np.isfinite(scores).all()
  assert set(results["sets"]) == {"heads", "chests"}
  many, _ = train(tmp_path / "many", **{"mesh.member": 2, "mesh.batch": 2})
  near = NEAR.get(host, 5e-3)
  np.testing.assert_allclose(many, scores, rtol=near, atol=near * scores.std())
  with monkeypatch.context() as patched:
    patched.setattr(experiment.writers, "Writers", Cut)
    with pytest.raises(Killed):
      train(tmp_path / "cut", **one)
  again, _ = train(tmp_path / "cut", **one)
  np.testing.assert_array_equal(again, scores)
