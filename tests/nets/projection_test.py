"""ResNet18 with its head against numbers of PyTorch, and its size."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from medad_jax import losses
from medad_jax.nets import projection
from tests.golden import cases, filler, layout

OPTIMIZER = optax.chain(
  optax.add_decayed_weights(3e-5), optax.sgd(0.03, momentum=0.9)
)


@pytest.fixture(scope="module")
def deep():
  """Eight layers of 512 units, three classes, three images."""
  expected = cases.load("ssl_projection")
  net = layout.projection(filler.named("ssl_projection", expected["shapes"]))
  image = cases.channels_last(filler.named_images("ssl_two", (3, 3, 96, 96)))
  return jax.tree.map(jnp.asarray, net), image, expected


def descend(net, params, stats, image, steps):
  """Losses before each step, the first gradient, the last statistics."""
  label = jnp.arange(len(image)) % 3

  def loss(params, stats):
    out, new = net.apply(
      {"params": params, "batch_stats": stats},
      image,
      train=True,
      mutable=["batch_stats"],
    )
    value = jnp.mean(losses.cross_entropy(out["logits"], label))
    return value, new["batch_stats"]

  @jax.jit
  def step(params, stats, opt):
    (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(
      params, stats
    )
    updates, opt = OPTIMIZER.update(grads, opt, params)
    return optax.apply_updates(params, updates), stats, opt, value, grads

  values, first, opt = [], None, OPTIMIZER.init(params)
  for _ in range(steps):
    params, stats, opt, value, grads = step(params, stats, opt)
    first = grads if first is None else first
    values.append(float(value))
  return values, first, stats


def test_embedding_and_logits(deep):
  (params, stats), image, expected = deep
  net = projection.Projection(classes=3, layers=8)
  out = jax.jit(lambda v: net.apply(v, image, train=False))(
    {"params": params, "batch_stats": stats}
  )
  for name, value in out.items():
    wanted = expected[f"eval_{name}"]
    np.testing.assert_allclose(value, wanted, rtol=2e-5, atol=1e-6)


def test_first_gradient_of_a_deep_head(deep):
  (params, stats), image, expected = deep
  net = projection.Projection(classes=3, layers=8)
  values, grads, _ = descend(net, params, stats, image, 1)
  # Ten normalizations of three codes each magnify rounding: PyTorch's own
  # float32 is 0.15 % and, at the first layers, 10 % from its float64.
  np.testing.assert_allclose(values[0], expected["losses"][0], rtol=3e-3)
  found = layout.by_key(grads, stats, expected["shapes"], layout.projection)
  for key, norm in expected["grad_norms"].items():
    tolerance = 0.01 if key.startswith("out.") else 0.15
    got = np.linalg.norm(found[key])
    np.testing.assert_allclose(got, norm, tolerance, atol=1e-3, err_msg=key)


def test_training(deep):
  """The published head, against PyTorch in float64."""
  shapes = published(deep[2]["shapes"])
  net = layout.projection(filler.named("ssl_projection", shapes))
  image = cases.channels_last(filler.named_images("ssl_two", (6, 3, 48, 48)))
  params, stats = jax.tree.map(jnp.asarray, net)
  values, grads, stats = descend(
    projection.Projection(classes=3), params, stats, image, 3
  )
  wanted = [1.2704781266786307, 0.6054508608207759, 0.2225383092577384]
  np.testing.assert_allclose(values[0], wanted[0], rtol=5e-6)
  np.testing.assert_allclose(values, wanted, rtol=5e-4)
  found = layout.by_key(grads, stats, shapes, layout.projection)
  for key, norm in {
    "resnet18.conv1.weight": 38.687662564488555,
    "resnet18.layer4.1.bn2.weight": 0.29225105070358465,
    "head.0.weight": 9.669077641364007,
    "head.1.bias": 0.26452828125479444,
    "out.bias": 0.24741588354200902,
  }.items():
    got = np.linalg.norm(found[key])
    np.testing.assert_allclose(got, norm, rtol=2e-4, err_msg=key)
  for key, wanted in {
    "head.1.running_var": [0.5506718076892959, 0.9619770865237939],
    "resnet18.bn1.running_mean": [0.031805924532890634, 0.22769065285428902],
  }.items():
    np.testing.assert_allclose(found[key][:2], wanted, rtol=1e-3)


def published(shapes):
  """Those of a head with one layer of 512 units."""
  kept = ("resnet18", "head.0", "head.1.", "out")
  last = {"head.24": "head.3", "head.25": "head.4"}
  return {k: s for k, s in shapes.items() if k.startswith(kept)} | {
    k.replace(k[:7], last[k[:7]]): s
    for k, s in shapes.items()
    if k.startswith(tuple(last))
  }


@pytest.mark.parametrize(("classes", "last"), [(2, 258), (3, 387)])
def test_size(classes, last):
  net = projection.Projection(classes=classes)
  image = jnp.zeros((2, 64, 64, 3))
  made = jax.eval_shape(
    lambda: net.init(jax.random.key(0), image, train=False)["params"]
  )
  sizes = {
    name: sum(leaf.size for leaf in jax.tree.leaves(tree))
    for name, tree in made.items()
  }
  assert sizes.pop("resnet18") == 11_176_512
  assert sizes.pop("out") == last
  assert sum(sizes.values()) == 329_600
