"""Training views in a run: any mesh, resumed, and in training alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.augment import views
from medad_jax.data import cache, joined, resident, spec, stream
from medad_jax.engine import (
  calibration,
  experiment,
  fit,
  members,
  opening,
  program,
  synthetic,
  train,
)
from medad_jax.engine import config as configuration
from medad_jax.engine.trained import Trained
from medad_jax.methods import ae
from medad_jax.training import Length
from medad_jax.types import NORMAL, Fit, Inputs, Phase, UserError
from tests import tiny, toys
from tests.engine.seams_test import leaves
from tests.killed import killed_and_resumed
from tests.methods import contract_test as contract

STORED = (24, 24, 1)
VIEW = views.parse("affine:10:0.1:0.1,flip,crop", 16, 24)
COUNTS = {**tiny.COUNTS, "test": 12}


class See:
  """A step that keeps its batch and learns nothing."""

  def start(self, params):
    return {}

  def __call__(self, state, batch, context):
    extra = {k: batch[k] for k in state.extra}
    state = state.replace(step=state.step + 1, extra=extra)
    return state, {"loss": jnp.zeros(())}


def seeing(batches):
  def init(key, shape):
    lead = (4,) if batches == 1 else (batches, 4)
    images = jnp.zeros((*lead, 16, 16, 1))
    slots = jnp.zeros(lead, jnp.int32)
    extra = {"image": images, "source": images, "id": slots}
    return {"none": slots}, extra | {"mask": jnp.zeros((*lead, 16, 16), bool)}

  inputs = Inputs(source=True, batches=batches)
  length = Length(steps=1, batch_size=4)
  return Phase("toy", length, (NORMAL,) * 2, init, See(), inputs=inputs)


def larger():
  return tiny.images(shape=STORED)


def fed(kind=resident.Resident):
  return kind(larger()).beside({"mask": larger()[..., 0] > 99})


def seen(workdir, batches, feed, view=VIEW, **options):
  settings = tiny.run(
    workdir, feed, view=view, shape=tiny.SHAPE, steps_per_call=1, **options
  )
  return train.train([seeing(batches)], settings)["toy"]


@pytest.mark.parametrize("batches", [1, 3])
def test_every_example_has_its_own_view_on_any_mesh(batches, tmp_path):
  one = seen(tmp_path / "one", batches, fed())
  extra = one.extra
  for member in range(2):
    key = jax.random.fold_in(one.key[member], 0)
    for number in range(batches):
      at = (member, number) if batches > 1 else (member,)
      own = key if batches == 1 else jax.random.fold_in(key, number)
      rows = np.asarray(extra["id"][at])
      expected = VIEW(
        own, {"slot": jnp.arange(4), "image": jnp.asarray(larger()[rows])}
      )
      np.testing.assert_allclose(
        extra["image"][at], expected["image"] / 127.5 - 1, atol=1e-6
      )
  levels = np.round((extra["image"][..., 0] / 2 + 0.5) * 255)
  np.testing.assert_array_equal(extra["mask"], levels > 99)
  others = [
    seen(tmp_path / "mesh", batches, fed(), devices=tiny.devices(2, 1)),
    seen(tmp_path / "stream", batches, fed(stream.Stream)),
  ]
  for other in others:
    jax.tree.map(np.testing.assert_array_equal, other.extra, extra)


def test_devices_that_share_a_batch_and_pmap_draw_the_same(tmp_path):
  """Parts of a batch keep their places in it."""
  found = []
  for mode, mesh in [("jit", (1, 1)), ("jit", (1, 2)), ("pmap", (2, 2))]:
    toy = toys.alternate()
    order = train.make_order(toy, tiny.pools(), tiny.TRIALS)
    layout = tiny.devices(*mesh, mode).layout(2, 4)
    ready = program.Program(
      toy, layout, fed(), order, tiny.TRIALS, (0, 1), view=VIEW
    )
    (chunk,) = ready.chunks([(0, 2)])
    start = members.init_states(toy, tiny.TRIALS, tiny.SHAPE, {})
    placed, _ = ready.call(ready.place(start), ready.constants({}), chunk)
    found.append(leaves(jax.device_get(ready.gather(placed, start))))
  for other in found[1:]:
    for x, y in zip(other, found[0], strict=True):
      np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-6)


def test_a_run_with_views_goes_on_bit_for_bit(tmp_path):
  options = {"view": VIEW, "shape": tiny.SHAPE}

  def trained(workdir, **more):
    settings = tiny.run(workdir, fed(), **options, **more)
    return train.train([toys.alternate()], settings)["toy"]

  whole = trained(tmp_path / "whole")
  again = killed_and_resumed(trained, tmp_path / "cut", 1)
  jax.tree.map(np.testing.assert_array_equal, leaves(again), leaves(whole))


@pytest.mark.parametrize("parts", [1, 2])
def test_fits_see_the_middle_and_no_draws(parts, tmp_path):
  images = larger()
  feed = stream.Stream(joined.join(np.array_split(images, parts)))
  stage = Fit(
    "all",
    (NORMAL,),
    lambda states, batch: batch["image"],
    lambda parts: {"image": np.concatenate(list(parts))},
  )
  settings = tiny.run(tmp_path, feed, view=VIEW, shape=tiny.SHAPE)
  found = fit.estimate(stage, settings, {}).params["image"][0]
  rows = tiny.pools()["normal"]
  np.testing.assert_allclose(
    found, images[rows, 4:20, 4:20] / 127.5 - 1, atol=1e-6
  )


def write_set(root, text, first=0):
  """A prepared set of stored size, in its cache."""
  kind = np.float32 if text.startswith("shrink") else np.uint8
  folder = spec._folder_of(STORED[0], STORED[2], text)
  place = cache.Cache(root / "cache" / "tiny" / folder)
  facts = {"counts": COUNTS, "fingerprints": {split: split for split in COUNTS}}
  found = {}
  for seed, (split, count) in enumerate(COUNTS.items(), first):
    images = tiny.images(count, seed, STORED)
    if kind == np.float32:
      images = images * np.float32(0.999)
    found[split] = images
    stored = {
      "images": images,
      "labels": np.arange(count) % 2 * (split == "test"),
      "masks": images[..., 0] > 128 if split == "test" else None,
      "names": tuple(f"{split}_{n}.png" for n in range(count)),
    }
    place.store(split, facts, stored)
  return found


def run(root, name, text, augment, **fields):
  settings = {
    "data.name": "tiny",
    "data.dir": str(root),
    "data.image_size": 16,
    "data.stored_size": 24,
    "data.preparation": text,
    "data.augment": augment,
    "evaluation.batch_size": 8,
    "validation.share": 0.25,
    "mesh.member": 1,
  }
  config = configuration.with_hyper(
    contract.small_config("ae"), settings | fields
  )
  experiment.train_and_evaluate(config, root / name)
  return root / name


@pytest.mark.parametrize(
  "text", [pytest.param("stretch", marks=pytest.mark.slow), "shrink:24"]
)
def test_scoring_sees_the_middle_and_no_draws(undrawn, text, tmp_path):
  images = write_set(tmp_path, text)
  folder = run(tmp_path, "run", text, "truncate,flip,crop")
  middle = {k: v[:, 4:20, 4:20] for k, v in images.items()}
  model = Trained.load(folder)
  scores = model.score(middle["test"]).scores.image["rec"]
  table = np.genfromtxt(folder / "scores.csv", delimiter=",", names=True)
  np.testing.assert_array_equal(table["rec"].astype(np.float32), scores[:, 0])
  held_out = calibration.load(folder)
  np.testing.assert_array_equal(
    held_out.scores["rec"],
    model.score(middle["train"][held_out.rows]).scores.image["rec"],
  )
  plain = configuration.with_hyper(model.config, {"data.augment": ""})
  other = dataclasses.replace(model, config=plain)
  np.testing.assert_array_equal(
    other.score(middle["test"]).scores.image["rec"], scores
  )
  with pytest.raises(UserError, match="were given to a model of"):
    model.score(images["test"])
  with pytest.raises(UserError, match="were given to a model of"):
    model.score(middle["test"].astype(np.float16))


def test_test_images_may_be_prepared_in_another_way(tmp_path):
  trained = write_set(tmp_path, "stretch")["train"]
  tested = write_set(tmp_path, "crop", first=50)["test"]
  settings = {"data.name": "tiny", "data.dir": str(tmp_path)}
  settings |= {"data.image_size": 16, "data.stored_size": 24}
  settings |= {"data.test_preparation": "crop"}
  whole = configuration.with_hyper(contract.small_config("ae"), settings)
  data = configuration.settings_of(whole).data
  found = opening.open_data(data, ("train", "test"))
  np.testing.assert_array_equal(found.splits["train"].images, trained)
  np.testing.assert_array_equal(found.splits["test"].images, tested)
  # An evaluation opens the test images alone, and recognizes the set.
  alone = opening.open_data(data, ("test",))
  np.testing.assert_array_equal(alone.splits["test"].images, tested)
  assert alone.fingerprint == found.fingerprint
  # Training images are others where both are prepared as the tests are.
  assert data.trained != dataclasses.replace(data, preparation="crop").trained
  with pytest.raises(UserError, match="let both or neither end with shrink"):
    dataclasses.replace(data, test_preparation="shrink:24")
  with pytest.raises(UserError, match="test_preparation='crop:9' ends with"):
    dataclasses.replace(data, test_preparation="crop:9")


class Brighter(ae.Method):
  """Makes anomalies that are half as dark."""

  def synthesize(self, keys, batch):
    return batch["image"] / 2 + 0.5


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_synthetic_images_are_of_the_type_that_a_model_scores(kind):
  normal = tiny.images(4).astype(kind)
  found = synthetic.images(Brighter(), normal)
  assert found.dtype == kind
  rounding = 0.51 if kind == np.uint8 else 1e-4
  np.testing.assert_allclose(found, normal / 2 + 127.5, atol=rounding)


class Ready(Exception):
  pass


def test_other_views_are_another_training(tmp_path, monkeypatch):
  write_set(tmp_path, "stretch")
  texts = []

  def stop(stages, shared):
    texts.append((shared.data_text, shared.shape))
    raise Ready

  monkeypatch.setattr(train, "train", stop)
  for augment in ("flip,crop", "flip , crop", "flip", ""):
    with pytest.raises(Ready):
      run(tmp_path, f"run{augment}", "stretch", augment)
  assert texts[0] == texts[1]
  assert len(set(texts)) == 3
