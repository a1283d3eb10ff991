"""The pretrained networks that can be imported."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from medad_jax.nets import inception, resnet, vgg
from medad_jax.weights import conversion, names


@dataclasses.dataclass(frozen=True)
class Net:
  """One entry.

  Attributes:
    url: of the official file.
    digest: its SHA-256, or how that begins.
    table: its names of the net's modules.
    variables: shapes of the net's Flax variables.
    ignored: patterns of names that the file has besides.
  """

  url: str
  digest: str
  table: conversion.Table
  variables: Callable[[], Any]
  ignored: tuple[str, ...]

  @property
  def file(self) -> str:
    """The official file's name."""
    return self.url.rsplit("/", 1)[-1]

  def entries(self) -> dict[str, conversion.Entry]:
    """The tensors to take from the file, by its names."""
    return conversion.entries(self.table, self.variables())


def _vgg19() -> Any:
  net = vgg.VGG19(layers=vgg.LAYERS[-1:])
  image = jnp.zeros((1, 32, 32, 3))
  return jax.eval_shape(lambda: net.init(jax.random.key(0), image))


def _resnet18() -> Any:
  net = resnet.ResNet18()
  image = jnp.zeros((1, 32, 32, 3))
  return jax.eval_shape(lambda: net.init(jax.random.key(0), image, train=False))


def _inception() -> Any:
  net = inception.InceptionResNetV2()
  image = jnp.zeros((1, 75, 75, 3))
  return jax.eval_shape(lambda: net.init(jax.random.key(0), image))


def _statistics() -> Any:
  return jax.eval_shape(
    lambda: {"mean": jnp.zeros(512), "scale": jnp.zeros(512)}
  )


NETS: Mapping[str, Net] = {
  "vgg19": Net(
    "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
    "dcbb9e9d",
    names.vgg19(),
    _vgg19,
    ("classifier.*",),
  ),
  "resnet18": Net(
    "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "f37072fd",
    names.resnet18(),
    _resnet18,
    ("fc.*",),
  ),
  "inceptionresnetv2": Net(
    "http://data.lip6.fr/cadene/pretrainedmodels/"
    "inceptionresnetv2-520b38e4.pth",
    "520b38e4",
    names.inception_resnet_v2(),
    _inception,
    ("last_linear.*",),
  ),
  # Mean and standard deviation of relu4_2's channels on ImageNet.
  "vgg19_r42": Net(
    "https://raw.githubusercontent.com/caiyu6666/MedIAnomaly/"
    "507201cb8e604b7d970c388784f55c06bb32d013/reconstruction/utils/data/"
    "vgg19_ILSVRC2012_object_detection_mean_var.pt",
    "f0c8f0ce94a9239176103a71ad457af705721530889eb5cc9e77dfc73b01b38c",
    names.vgg19_statistics("r42"),
    _statistics,
    ("[crp]*.[01]",),  # the other layers
  ),
}
