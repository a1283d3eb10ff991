"""Deep-GEO: its net, steps and score against Keras 2.3.1 on TensorFlow 1.13.1.

Keras ran in float32; an independent version of the same steps in float64 gave
the numbers of "_f64".
"""

import dataclasses
import functools
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.augment import transformations
from medad_jax.data import feeds
from medad_jax.engine import train
from medad_jax.methods import deep_geo
from medad_jax.nets import ops
from medad_jax.scoring import dirichlet
from medad_jax.types import TrainState
from tests import tiny
from tests.golden import cases, filler, layout
from tests.methods.stepping import Stepper

METHODS = {
  "geo_wrn_rgb32": deep_geo.Method(),
  "geo_wrn_gray64": deep_geo.Method(blocks=2, width=8, translation=16),
}
RGB = "geo_wrn_rgb32"
PARAMETERS = {"geo_wrn_rgb32": 1_214_744, "geo_wrn_gray64": 11_103_480}


golden = functools.cache(cases.load)


def start(name):
  """Parameters and statistics before training, by part."""
  shapes = golden(name)["shapes"]
  params, extra = layout.wide_resnet(filler.named(name, shapes))
  return {"net": params}, {"net": extra}


def images(name, shape):
  return cases.channels_last(filler.named_images(name, tuple(shape)))


def batch(name):
  config = golden(name)["config"]
  rows, views = np.array(config["pairs"]).T
  image = images(*config["images"])[rows]
  return cases.batch_of(image) | {"copy": jnp.asarray(views)}


def state(params, extra):
  params, extra = jax.tree.map(jnp.asarray, (params, extra))
  return TrainState(jnp.int32(0), params, extra, {}, jax.random.key(0))


def penalty(tree):
  """Keras's loss has it, while ours is a part of the optimizer."""
  return 2.5e-4 * sum(jnp.sum(x**2) for x in jax.tree.leaves(tree))


def stepper(method):
  """The phase's steps, which tell the penalty too."""
  phase = method.phases()[0]

  def loss(params, *rest):
    value, (extra, _) = phase.step.loss(params, *rest)
    return value, (extra, {"penalty": penalty(params)})

  step = dataclasses.replace(phase.step, loss=loss)
  return Stepper(dataclasses.replace(phase, step=step))


def losses(done):
  return [row["loss"] + row["penalty"] for row in done.metrics]


def convolved(x, kernel, stride=1, padding=0):
  """The convolution by products: XLA's takes minutes for these in float64."""
  assert padding == 0
  height, width = (
    (side - n) // stride + 1
    for side, n in zip(x.shape[1:3], kernel.shape[:2], strict=True)
  )
  return sum(
    x[:, a : a + stride * height : stride, b : b + stride * width : stride]
    @ kernel[a, b]
    for a, b in np.ndindex(*kernel.shape[:2])
  )


@pytest.mark.parametrize("name", METHODS)
def test_logits_are_those_of_keras(name):
  method, found = METHODS[name], golden(name)
  params, extra = start(name)
  count = sum(x.size for x in jax.tree.leaves(params))
  assert count == PARAMETERS[name]
  given = batch(name)
  views = transformations.transform(
    given["image"], given["copy"], method.translation
  )
  net = jax.jit(lambda own, x: method.logits(own, x, 0))
  logits = net(state(params, extra), views)
  cases.close(logits, found["eval_logits"], rtol=3e-6, atol=1e-5)
  cases.close(jax.nn.softmax(logits), found["eval_prob"], atol=3e-6)


def in_float64(mode, monkeypatch):
  """The steps of a mode, and the loss after them in inference."""
  monkeypatch.setattr(ops, "conv2d", convolved)
  method = dataclasses.replace(METHODS[RGB], mode=mode)
  with jax.enable_x64(True):
    params, extra = cases.doubled(start(RGB))
    given = batch(RGB)
    given["image"] = cases.doubled(given["image"])
    done = stepper(method).descend(params, extra, given, 3)
    after = loss_after(method, done, given)
    return jax.device_get(done), after


def loss_after(method, done, given):
  views = transformations.transform(
    given["image"], given["copy"], method.translation
  )
  logits = method.logits(state(done.params, done.extra), views, 0)
  found = jnp.mean(deep_geo.cross_entropy(logits, given["copy"]))
  return float(found + penalty(done.params))


def by_key(params, extra):
  return layout.by_key(
    params["net"], extra["net"], golden(RGB)["shapes"], layout.wide_resnet
  )


def test_steps_are_those_of_keras(monkeypatch):
  done, after = in_float64("reference", monkeypatch)
  found = golden(RGB)
  cases.close(losses(done), found["losses_f64"], rtol=1e-6)
  cases.close(after, found["loss_eval_after_f64"][0], rtol=1e-6)
  # Keras's own numbers from here on: what float32 did to them, three times.
  grads = jax.tree.map(lambda g, p: g + 5e-4 * p, done.grads, start(RGB)[0])
  first = by_key(grads, done.first_extra)
  for key, norm in found["grad_norms"].items():
    cases.close(np.linalg.norm(first[key]), norm, rtol=9e-3, err_msg=key)
  for key, value in found.items():
    if key.startswith("stats/"):
      got = first[key.removeprefix("stats/")]
      cases.close(got, value, rtol=1e-5, atol=1e-6, err_msg=key)
  last = by_key(done.params, done.extra)
  for key, norm in found["param_norms"].items():
    cases.close(np.linalg.norm(last[key]), norm, rtol=9e-4, err_msg=key)


def test_fixed_steps_count_from_one(monkeypatch):
  done, after = in_float64("fixed", monkeypatch)
  found = golden(RGB)
  cases.close(losses(done), found["losses_nominal_t_f64"], rtol=1e-6)
  wanted = found["loss_eval_after_nominal_t_f64"][0]
  # That run's variances are still corrected twice.
  cases.close(after, wanted, rtol=2e-4)
  assert abs(after - wanted) > 1e-5 * wanted


def test_the_whole_score_is_that_of_the_reference():
  found, method = cases.load("geo_score"), METHODS[RGB]
  config = found["config"]
  train, test = (
    cases.batch_of(images(*config[name])) for name in ("train", "test")
  )
  states = {"train": state(*start(RGB))}
  see = jax.jit(lambda batch: method.probabilities(states, batch))
  fitted = dirichlet.fit(dirichlet.means([np.asarray(see(train))]))
  cases.close(fitted.alpha.sum(1), found["alpha_sum_f64"], rtol=3e-4)
  for number in (0, 5, 71):
    wanted = found[f"alpha_t{number}_f64"]
    cases.close(fitted.alpha[number], wanted, rtol=3e-4)
  params = {"alpha": jnp.asarray(fitted.alpha, jnp.float32)}
  states["dirichlet"] = state(params, {})
  score = jax.jit(lambda batch: method.predict(states, batch)["dirichlet"])
  # An untrained net's distributions are nearly points: sums of alpha of 2e4.
  cases.close(score(test), -found["score_f64"], rtol=2.1e-5)


def test_training_sees_every_pair_once_a_pass():
  phase = METHODS[RGB].phases()[0]
  order = train.make_order(phase, {"normal": np.arange(3, 8)}, tiny.TRIALS)
  assert order.epoch_steps() == (3,)  # 360 pairs in batches of 128
  seen = [
    tuple(pair)
    for step in range(3)
    for pair in np.stack(
      [order.rows(step, step + 1, (0,))[k].ravel() for k in ("id", "copy")], 1
    ).tolist()
  ]
  assert sorted(seen) == [(row, t) for row in range(3, 8) for t in range(72)]
  assert seen != sorted(seen)


@pytest.mark.parametrize("kind", ["resident", "grain"])
def test_training_holds_at_most_twice_the_images(kind, tmp_path):
  """16,000 of 64x64: on the host and on the device together."""
  shape = (16_000, 64, 64, 1)
  path = tmp_path / "images.npy"
  np.save(path, np.zeros(shape, np.uint8))
  stored = np.load(path, mmap_mode="r")  # as the cache of a set is read
  phase = METHODS["geo_wrn_gray64"].phases()[0]
  before = on_devices()
  tracemalloc.start()
  try:
    feed = feeds.choose(stored, kind, 2000.0)
    order = train.make_order(phase, {"normal": np.arange(16_000)}, tiny.TRIALS)
    constant = jax.tree.map(jnp.array, feed.constant)
    chunk = next(iter(feed.chunks(order, [(0, 8)], (0,), False)))
    batch = feed.batch(constant, jax.tree.map(lambda x: jnp.array(x[0]), chunk))
    views = transformations.transform(batch["image"][0], batch["copy"][0], 16)
    jax.block_until_ready(views)
    held = tracemalloc.get_traced_memory()[1] + on_devices() - before
  finally:
    tracemalloc.stop()
  assert held <= 2 * np.prod(shape)


def on_devices():
  return sum(array.nbytes for array in jax.live_arrays())
