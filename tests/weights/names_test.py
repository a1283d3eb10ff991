"""The tables fit the references' `state_dict`s and our nets, both ways."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.methods import ra
from medad_jax.nets import (
  autoencoder,
  efficientnet,
  encoder_decoder,
  gan,
  inception,
  lpips,
  projection,
  refine,
  resnet,
  unet,
  vgg,
)
from medad_jax.weights import (
  catalog,
  conversion,
  lite_names,
  lpips_names,
  names,
  tensor_file,
)
from tests.golden import cases, torchvision

AE = autoencoder.Autoencoder


class Case(NamedTuple):
  table: conversion.Table
  init: Callable[[jax.Array], Any]
  shapes: dict[str, tuple[int, ...]]


def golden(name):
  return {k: tuple(s) for k, s in cases.load(name)["shapes"].items()}


def of(net, shape=(1, 64, 64, 1), **options):
  return lambda key: net.init(key, jnp.zeros(shape), **options)


def trained(net, shape=(1, 64, 64, 1)):
  return of(net, shape, train=False)


def vae(key):
  net = autoencoder.VariationalAutoencoder()
  return net.init(key, jnp.zeros((1, 64, 64, 1)), jnp.zeros((1, 16)), False)


def ganomaly(key):
  parts = {
    "net": trained(gan.Generator())(key),
    "disc": trained(gan.Discriminator())(key),
  }
  return {
    collection: {part: parts[part][collection] for part in parts}
    for collection in ("params", "batch_stats")
  }


def reversed_autoencoder(key):
  params, extra = ra.Method().init(key, (128, 128, 1))
  return {"params": params, "batch_stats": extra}


def lite0_shapes():
  """Of the file that a package ships."""
  path = catalog.NETS["efficientnet_lite0"].shipped()
  return {name: x.shape for name, x in tensor_file.read(path).items()}


def part(name, number):
  """Trunk (0) or heads (1) of LPIPS."""
  return lambda key: {
    "params": lpips.init(name, key)[lpips.PARTS[name][number]]
  }


def statistics(_):
  return {"mean": jnp.zeros(512), "scale": jnp.zeros(512)}


# What PyTorch's files hold, by the numbers stored here, by torchvision or by a
# package.
CASES = {
  "ddad_ae": (names.ddad_autoencoder(), trained(AE())),
  "ddad_aeu": (names.ddad_autoencoder(), trained(AE(variance=True))),
  "ddad_memae": (names.ddad_autoencoder(), trained(AE(slots=25))),
  "ddad_refine": (
    names.ddad_refine(),
    trained(refine.RefineNet(), (1, 8, 8, 2)),
  ),
  "recon_ae": (names.autoencoder(), trained(AE(hidden=1024))),
  "recon_ae_rgb": (
    names.autoencoder(),
    trained(AE(hidden=1024), (1, 64, 64, 3)),
  ),
  "recon_ae_deep": (
    names.autoencoder(2, 3),
    trained(AE(32, 32, 1024, 2, 3)),
  ),
  "recon_ae_spatial": (
    names.autoencoder(bottleneck="spatial"),
    trained(AE(hidden=1024, bottleneck="spatial")),
  ),
  "recon_aeu": (names.autoencoder(), trained(AE(hidden=1024, variance=True))),
  "recon_memae": (names.autoencoder(), trained(AE(hidden=1024, slots=25))),
  "recon_vae": (names.autoencoder(), vae),
  "recon_ganomaly": (names.ganomaly(), ganomaly),
  "ra_net": (names.introspective(), reversed_autoencoder),
  "recon_dae_unet": (names.unet(), of(unet.UNet())),
  "ssl_encdec_sigmoid": (
    names.encoder_decoder(),
    trained(encoder_decoder.EncoderDecoder()),
  ),
  "ssl_projection": (
    names.projection(8),
    trained(projection.Projection(classes=3, layers=8), (1, 64, 64, 3)),
  ),
  "dif_features": (
    names.inception_resnet_v2(),
    of(inception.InceptionResNetV2(), (1, 75, 75, 3)),
  ),
}
TORCHVISION = {
  "resnet18": (
    names.resnet18(),
    trained(resnet.ResNet18(), (1, 64, 64, 3)),
    torchvision.resnet18(),
  ),
  "resnet18 with fc": (
    names.resnet18(),
    trained(resnet.ResNet18(classes=1000), (1, 64, 64, 3)),
    {
      **torchvision.resnet18(),
      "fc.weight": (1000, 512),
      "fc.bias": (1000,),
    },
  ),
  "vgg19": (
    names.vgg19(),
    of(vgg.VGG19(("pool5",)), (1, 32, 32, 3)),
    torchvision.vgg19(),
  ),
  "efficientnet_lite0": (
    lite_names.efficientnet_lite0(),
    of(efficientnet.EfficientNetLite0(("logits",)), (1, 32, 32, 3)),
    lite0_shapes(),
  ),
  "vgg16": (lpips_names.vgg16(), part("vgg", 0), torchvision.vgg16()),
  "alexnet": (lpips_names.alexnet(), part("alex", 0), torchvision.alexnet()),
  "squeezenet": (
    lpips_names.squeezenet(),
    part("squeeze", 0),
    {
      k: tuple(s)
      for k, s in cases.load("ra_map")["squeeze_shapes"].items()
      if k.startswith("features.")
    },
  ),
  "lpips_alex": (
    lpips_names.lpips_heads(),
    part("alex", 1),
    {
      f"lin{i}.model.1.weight": (1, n, 1, 1)
      for i, n in enumerate((64, 192, 384, 256, 256))
    },
  ),
  "r42": (
    names.vgg19_statistics("r42"),
    statistics,
    {"r42.0": (1, 512, 1, 1), "r42.1": (1, 512, 1, 1)},
  ),
}


@pytest.fixture(scope="module", params=[*CASES, *TORCHVISION])
def case(request):
  name = request.param
  if name in CASES:
    return Case(*CASES[name], golden(name))
  return Case(*TORCHVISION[name])


@pytest.fixture(scope="module")
def variables(case):
  return jax.eval_shape(case.init, jax.random.key(0))


def test_names_and_shapes_are_the_references(case, variables):
  found = conversion.misfits(case.table, variables, case.shapes)
  assert found == conversion.Misfits([], [], [])


def test_there_and_back_is_the_same(case, variables):
  numbers = jax.tree.map(numbered, variables)
  state = conversion.to_torch(case.table, numbers)
  assert {k: v.shape for k, v in state.items()} == case.shapes
  back = conversion.to_flax(case.table, state)
  jax.tree.map(np.testing.assert_array_equal, back, numbers)
  again = conversion.to_torch(case.table, back)
  jax.tree.map(np.testing.assert_array_equal, again, state)


def numbered(leaf):
  return np.arange(leaf.size, dtype=np.int32).reshape(leaf.shape)


def small():
  """A refinement net's table and shapes."""
  net = trained(refine.RefineNet(width=4), (1, 8, 8, 2))
  return names.ddad_refine(), jax.eval_shape(net, jax.random.key(0))


def test_everything_that_does_not_fit_is_listed():
  table, variables = small()
  state = conversion.to_torch(table, jax.tree.map(numbered, variables))
  shapes = {name: value.shape for name, value in state.items()}
  del shapes["model.0.bias"], shapes["model.4.running_var"]
  shapes |= {"model.3.weight": (4, 4, 1, 1), "model.6.bias": (3,)}
  shapes |= {"model.9.weight": (1,), "criterion.weight": (2,)}
  found = conversion.misfits(table, variables, shapes, ("criterion.*",))
  assert found == conversion.Misfits(
    ["model.4.running_var", "model.0.bias"],
    ["model.9.weight"],
    [
      "model.3.weight (4, 4, 1, 1) instead of (4, 4, 3, 3)",
      "model.6.bias (3,) instead of (2,)",
    ],
  )


def test_variables_without_a_name_are_listed():
  table, variables = small()
  more = {"params": {**variables["params"], "new": variables["batch_stats"]}}
  with pytest.raises(ValueError) as caught:
    conversion.to_torch(table, more)
  for norm in ("0", "1"):
    assert f"params/new/BatchNorm_{norm}/mean" in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_pytorch_gives_the_same_outputs(suffix, tmp_path):
  """The whole way: variables, file, PyTorch's strict loading, outputs."""
  torch = pytest.importorskip("torch")
  table, shapes = small()
  rng = np.random.default_rng(0)
  variables = jax.tree.map(
    lambda x: jnp.asarray(rng.uniform(0.5, 1, x.shape), jnp.float32), shapes
  )
  path = tmp_path / f"net{suffix}"
  tensor_file.write(path, conversion.to_torch(table, variables))
  nn = torch.nn
  net = nn.Module()
  net.model = nn.Sequential(
    nn.Conv2d(2, 4, 3, padding=1),
    *(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)),
    *(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1)),
  )
  if suffix == ".pth":
    state = torch.load(path, weights_only=True)
  else:
    state = pytest.importorskip("safetensors.torch").load_file(path)
  net.load_state_dict(state, strict=True)
  maps = rng.uniform(-1, 1, (3, 8, 8, 2)).astype(np.float32)
  with torch.no_grad():
    wanted = net.eval().model(torch.from_numpy(maps).permute(0, 3, 1, 2))
  net = refine.RefineNet(width=4)
  found = net.apply(variables, jnp.asarray(maps), train=False)
  np.testing.assert_allclose(
    found, wanted.permute(0, 2, 3, 1).numpy(), rtol=1e-5, atol=1e-5
  )
