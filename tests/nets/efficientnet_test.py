"""EfficientNet-lite0 with the packaged weights gives the reference numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.nets import efficientnet
from medad_jax.weights import catalog, conversion, lite_names, tensor_file
from tests.golden import cases, filler

GOLDEN = cases.load("features_lite0")


@pytest.fixture(scope="module")
def variables():
  path = catalog.NETS["efficientnet_lite0"].shipped()
  assert path is not None, "install the requirements: the weights are a package"
  state = {name: x.read() for name, x in tensor_file.read(path).items()}
  return conversion.to_flax(lite_names.efficientnet_lite0(), state)


@pytest.fixture(scope="module", params=[224, 128])
def outputs(request, variables):
  side = request.param
  image = filler.named_images(f"lite0/{side}", (2, 3, side, side))
  net = efficientnet.EfficientNetLite0(efficientnet.LAYERS)
  found = jax.jit(net.apply)(variables, cases.channels_last(image))
  return side, jax.tree.map(np.asarray, found)


@pytest.mark.parametrize("block", [4, 10, 15])
def test_blocks(outputs, block):
  side, found = outputs
  wanted = GOLDEN[f"block{block}_{side}_f64"]
  got = found[f"block{block}"].transpose(0, 3, 1, 2)[:, ::8, ::4, ::4]
  np.testing.assert_allclose(got, wanted, atol=5e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("layer", efficientnet.LAYERS[:-1])
def test_norms(outputs, layer):
  side, found = outputs
  norms = np.linalg.norm(found[layer].reshape(2, -1), axis=1)
  np.testing.assert_allclose(norms, GOLDEN[f"norm_{layer}_{side}"], rtol=1e-5)


def test_pooled_features_and_logits(outputs):
  side, found = outputs
  pooled = found["block15"].mean((1, 2))
  np.testing.assert_allclose(pooled, GOLDEN[f"pooled_{side}"], atol=2e-5)
  if side == 224:
    logits = found["logits"][:, ::50]
    np.testing.assert_allclose(logits, GOLDEN["logits_224"], atol=1e-5)


def test_layers_behind_those_asked_for_are_not_made():
  net = efficientnet.EfficientNetLite0(("stem", "block1"))
  image = jnp.zeros((1, 33, 32, 3))
  out, made = jax.eval_shape(
    lambda: net.init_with_output(jax.random.key(0), image)
  )
  assert set(made["params"]) == {"stem", "block0", "block1"}
  # The reference pads as for even sides.
  assert out["stem"].shape == (1, 16, 16, 32)
  assert out["block1"].shape == (1, 8, 8, 24)
