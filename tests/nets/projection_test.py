"""ResNet18 with its head against numbers of PyTorch, and its size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.methods import cutpaste_2s
from medad_jax.nets import projection
from tests.golden import cases, filler, layout
from tests.methods import published


@pytest.fixture(scope="module")
def deep():
  """Eight layers of 512 units, three classes, three images."""
  expected = cases.load("ssl_projection")
  net = layout.projection(filler.named("ssl_projection", expected["shapes"]))
  image = cases.channels_last(filler.named_images("ssl_two", (3, 3, 96, 96)))
  return jax.tree.map(jnp.asarray, net), image, expected


def test_embedding_and_logits(deep):
  (params, stats), image, expected = deep
  net = projection.Projection(classes=3, layers=8)
  out = jax.jit(lambda v: net.apply(v, image, train=False))(
    {"params": params, "batch_stats": stats}
  )
  for name, value in out.items():
    wanted = expected[f"eval_{name}"]
    np.testing.assert_allclose(value, wanted, rtol=2e-5, atol=1e-6)


def test_training(deep):
  """The published head, against PyTorch in float64."""
  shapes = published_shapes(deep[2]["shapes"])
  net = layout.projection(filler.named("ssl_projection", shapes))
  image = cases.channels_last(filler.named_images("ssl_two", (6, 3, 48, 48)))
  stepper = published.stepper(
    cutpaste_2s.Method(variant="3way"), published.PROJECTION
  )
  with jax.enable_x64(True):
    params, stats, image = cases.doubled((*net, image))
    batch = {"image": image, "view": jnp.arange(6) % 3}
    done = stepper.descend({"net": params}, {"net": stats}, batch, 3)
  wanted = [1.2704781266786307, 0.6054508608207759, 0.2225383092577384]
  np.testing.assert_allclose(done.losses, wanted, rtol=1e-6)
  grads, stats = done.grads["net"], done.extra["net"]
  found = layout.by_key(grads, stats, shapes, layout.projection)
  for key, norm in {
    "resnet18.conv1.weight": 38.687662564488555,
    "resnet18.layer4.1.bn2.weight": 0.29225105070358465,
    "head.0.weight": 9.669077641364007,
    "head.1.bias": 0.26452828125479444,
    "out.bias": 0.24741588354200902,
  }.items():
    got = np.linalg.norm(found[key])
    np.testing.assert_allclose(got, norm, rtol=1e-6, err_msg=key)
  for key, wanted in {
    "head.1.running_var": [0.5506718076892959, 0.9619770865237939],
    "resnet18.bn1.running_mean": [0.031805924532890634, 0.22769065285428902],
  }.items():
    np.testing.assert_allclose(found[key][:2], wanted, rtol=1e-6)


def published_shapes(shapes):
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
