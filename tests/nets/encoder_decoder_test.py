"""The encoder-decoder against numbers of PyTorch, its size, its bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.interpolation import corners_on_corners
from medad_jax.nets import encoder_decoder
from medad_jax.types import UserError
from tests.golden import cases, filler, layout

NET = encoder_decoder.EncoderDecoder()
CASES = ("ssl_encdec_sigmoid", "ssl_encdec_relu")


@pytest.fixture(scope="module", params=CASES)
def case(request):
  expected = cases.load(request.param)
  net = layout.encoder_decoder(filler.named(request.param, expected["shapes"]))
  return request.param, jax.tree.map(jnp.asarray, net), expected


@pytest.fixture(scope="module")
def image():
  return cases.channels_last(filler.named_images("ssl_one", (2, 1, 128, 128)))


@pytest.fixture(scope="module")
def apply(image):
  return jax.jit(
    lambda params, stats: NET.apply(
      {"params": params, "batch_stats": stats}, image, train=False
    )
  )


def test_map(case, apply):
  name, net, expected = case
  last = {"ssl_encdec_sigmoid": jax.nn.sigmoid, "ssl_encdec_relu": jax.nn.relu}
  got = last[name](apply(*net))
  np.testing.assert_allclose(got, expected["eval_map"][:, 0], atol=5e-6)


def test_size():
  net = encoder_decoder.EncoderDecoder
  image = jnp.zeros((2, 32, 64, 3))
  for width, channels, wanted in ((64, 1, 11_491_440), (4, 3, None)):
    out, made = jax.eval_shape(
      lambda x, w=width: net(width=w).init_with_output(
        jax.random.key(0), x, train=True
      ),
      image[..., :channels],
    )
    size = sum(leaf.size for leaf in jax.tree.leaves(made["params"]))
    assert out.shape == (2, 32, 64)
    assert wanted is None or size == wanted
    assert made["params"]["transpose"]["kernel"].shape[2] == width // 4


def test_first_values():
  block = encoder_decoder.UpBlock(8)
  init = jax.jit(lambda key: block.init(key, jnp.zeros((1, 2, 2, 16)), True))
  params = init(jax.random.key(0))["params"]
  kernel = params["conv2"]["kernel"]
  np.testing.assert_allclose(kernel.std(), (2 / (9 * 8)) ** 0.5, rtol=0.1)
  for name, count in {"transpose1": 9 * 8, "transpose_shortcut": 8}.items():
    largest = np.abs(params[name]["kernel"]).max() * count**0.5
    assert 0.9 < largest <= 1


def test_doubling_keeps_corners_and_ramps():
  rows, columns = np.meshgrid(np.arange(3.0), np.arange(5.0), indexing="ij")
  image = jnp.asarray((2 * rows - columns)[None, :, :, None], jnp.float32)
  got = corners_on_corners(image, (6, 10))[0, :, :, 0]
  rows, columns = np.meshgrid(
    np.linspace(0, 2, 6), np.linspace(0, 4, 10), indexing="ij"
  )
  np.testing.assert_allclose(got, 2 * rows - columns, atol=1e-5)


@pytest.mark.parametrize(
  ("width", "side", "says"),
  [(64, 48, "48x32 were given.*a multiple of 32"), (6, 32, "a multiple of 4")],
)
def test_bad_input(width, side, says):
  net = encoder_decoder.EncoderDecoder(width=width)
  with pytest.raises(UserError, match=says):
    net.init(jax.random.key(0), jnp.zeros((1, side, 32, 1)), train=False)
