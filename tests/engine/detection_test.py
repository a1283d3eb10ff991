"""Boxes, draws and reconstructions of a test set reach results.json."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from medad_jax import steps, types
from medad_jax.data import columns, spec
from medad_jax.engine import measuring
from medad_jax.report import table
from medad_jax.training import Length, Optimizer
from tests.engine.evaluated import evaluate, make_config

SIZE = 16
CONFIG = make_config(SIZE, method="drawing", model={})


@dataclasses.dataclass(frozen=True)
class Drawing:
  """Its map is the image; of two draws one is twice that, one is nothing."""

  published_threshold: float = 0.5
  score_names = ("mean",)

  def phases(self):
    pools, length = (types.NORMAL,), Length(epochs=1, batch_size=8)
    step = steps.Descend(self.predict, Optimizer())
    return (types.Phase("train", length, pools, self.init, step),)

  def init(self, key, image_shape):
    return {}, {}

  def predict(self, states, batch):
    del states
    return {"x": (batch["image"] + 1) / 2}

  def score(self, preds, batch, fitted):
    del batch, fitted
    x = preds["x"][0]
    drawn = jnp.stack([2 * x, 0 * x], 1)
    draws = types.Scores(
      {"mean": jnp.mean(drawn, (2, 3, 4))},
      {"mean": drawn[..., 0]},
      # Gray values of 0.9 and 0.7 of the image's.
      2 * jnp.stack([0.9 * x, 0.7 * x], 1) - 1,
      {"lpips_alex": jnp.broadcast_to(jnp.array([0.5, 0.25]), (len(x), 2))},
    )
    return types.Scores(
      {"mean": jnp.mean(x, (1, 2, 3))},
      {"mean": x[..., 0]},
      2 * (0.8 * x) - 1,
      draws=draws,
    )


STATES = {
  "train": types.TrainState(
    jnp.zeros(1, jnp.int32),
    {},
    {},
    None,
    jax.random.split(jax.random.key(0), 1),
  )
}


def split(seed, count, label, boxed=False, **texts):
  """Dark images; the boxes of every other abnormal one are bright."""
  rng = np.random.default_rng(seed)
  images = rng.integers(0, 60, (count, SIZE, SIZE, 1)).astype(np.uint8)
  masks = np.zeros((count, SIZE, SIZE), bool)
  if label:
    masks[:, 2:6, 3:9] = True
    images[::2, 2:6, 3:9] = 200
  return spec.Split(
    images,
    np.full(count, label, np.int32),
    tuple(f"{i}.png" for i in range(count)),
    masks,
    {name: tuple(values) for name, values in texts.items()},
    ~masks if boxed else None,
  )


@pytest.fixture
def run(tmp_path):
  """Results of splits by name, and the tree of their file."""

  def run(method=None, **splits):
    method = method or Drawing()
    counts = {name: len(one) for name, one in splits.items()}
    data = spec.Dataset("made", splits, "f" * 64, counts)
    results = evaluate(method, STATES, data, tmp_path, CONFIG)
    return results, json.loads((tmp_path / "results.json").read_text())

  return run


def test_boxes_are_counted_in_every_draw(run):
  boxes = split(
    1, 6, 1, True, **{columns.FINDING: ["edema"] * 4 + ["artefacts"] * 2}
  )
  results, tree = run(test=split(0, 5, 0), test_local=boxes)
  at = results.sets["local"].scores["mean"].detection.at
  assert list(at) == ["published", "1%", "2%", "5%"]
  # The mean of the draws' maps would find all three bright boxes, too; each
  # draw by itself finds three or none.
  for name in ("published", "1%"):
    found = at[name]
    assert found.total.per_draw == (3, 0)
    assert found.total.found == 1.5
    assert found.total.rate == 0.25
    assert found.classes["edema"].per_draw == (2, 0)
    assert found.without_artefacts == found.classes["edema"]
  assert at["published"].threshold == 0.5
  # Noise reaches a tenth of some dark boxes at the lowest threshold.
  assert at["5%"].total.per_draw[0] > 3
  assert at["5%"].total.per_draw[1] == 0
  share = np.mean(2 * split(0, 5, 0).images / 255 >= at["5%"].threshold)
  assert 0.09 < share <= 0.1  # of one draw; the other has no such pixel
  assert results.main.scores["mean"].detection is None
  stored = tree["sets"]["local"]["scores"]["mean"]["detection"]
  assert stored["1%"]["classes"]["edema"]["per_draw"] == [2, 0]
  text = table.results_table(results)
  assert "all but artefacts" in text
  assert "1.5 ± 2.1 of 6" in text


def test_a_set_of_abnormal_images_is_ranked_with_the_main_normal_ones(run):
  normal, far = split(0, 5, 0), split(3, 7, 1)
  results, _ = run(test=normal, test_far=far)
  ranking = results.sets["far"].scores["mean"].ranking
  assert (ranking.n_normal, ranking.n_abnormal) == (5, 7)
  scores = np.concatenate([one.images.mean((1, 2, 3)) for one in (normal, far)])
  wanted = sk.roc_auc_score(np.repeat([0, 1], [5, 7]), scores)
  assert ranking.auroc == pytest.approx(wanted)
  assert results.main.scores["mean"].ranking.auroc is None


def test_ranking_has_the_spread_of_the_draws(run):
  both = split(0, 5, 0), split(1, 6, 1)
  test = spec.Split(
    *(
      np.concatenate([getattr(one, name) for one in both])
      for name in ("images", "labels")
    ),
    both[0].names + both[1].names,
    np.concatenate([one.masks for one in both]),
  )
  results, tree = run(test=test)
  spread = results.main.scores["mean"].over_draws
  ranking = results.main.scores["mean"].ranking
  assert spread["auroc"].per_seed == (ranking.auroc, 0.5)
  assert tree["scores"]["mean"]["over_draws"]["auroc"]["per_seed"][1] == 0.5
  # The boxes around its masks, with no class of their own.
  found = results.main.scores["mean"].detection.at["published"]
  assert list(found.classes) == [measuring.UNNAMED]
  assert found.total.per_draw == (3, 0)


def test_reconstructions_are_measured_draw_by_draw(run):
  normal = split(0, 5, 0)
  results, tree = run(test=normal)
  close = results.main.fidelity
  assert close.mae == pytest.approx(0.2 * normal.images.mean() / 255, rel=1e-5)
  assert close.lpips_alex == 0.375
  assert 0 < close.ssim < 1
  assert tree["reconstruction"]["lpips_alex"] == 0.375
  assert "MAE" in table.results_table(results)


def test_boxes_do_not_say_which_pixels_are_abnormal(run):
  texts = {columns.FINDING: ["edema", "", "wml", ""]}
  results, _ = run(
    test=split(0, 5, 0), test_local=split(1, 4, 1, True, **texts)
  )
  score = results.sets["local"].scores["mean"]
  assert score.pixels is None
  # Rows without a class are whole images, not boxes.
  assert score.detection.at["published"].total.boxes == 2


def test_a_method_without_a_published_threshold_has_the_others(run):
  method = Drawing(published_threshold=None)
  results, _ = run(method, test=split(0, 5, 0), test_far=split(1, 4, 1))
  assert list(results.sets["far"].scores["mean"].detection.at) == [
    *("1%", "2%", "5%")
  ]
