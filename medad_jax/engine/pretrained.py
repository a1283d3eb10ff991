"""Pretrained nets: imported once from a file, then loaded by name.

`python -m medad_jax.weights NAME --source=FILE` keeps the numbers in the user's
cache ($MEDAD_CACHE_DIR, by default ~/.cache/medad_jax) as weights/NAME.npz. How
a net came by its numbers goes with them into every result.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import dataclasses
import fnmatch
import hashlib
import http.client
import json
from pathlib import Path
import shutil
import ssl
import tempfile
from typing import Any
import urllib.error
import urllib.request
import zipfile

from flax import linen as nn
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from medad_jax import files
from medad_jax.engine import tensor_file
from medad_jax.nets import resnet, vgg
from medad_jax.types import UserError

Arrays = dict[str, np.ndarray]  # by path: "params/conv1_1/kernel"


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """Numbers and where they are from.

  Attributes:
    variables: nested dicts of float32 arrays: a net's Flax variables ("params"
      and, of "resnet18", "batch_stats"), or "mean" and "scale" [channels].
    provenance: "official", or "sha256:..." of another file.
  """

  variables: dict[str, Any]
  provenance: str


def names() -> list[str]:
  """What can be imported."""
  return sorted(_KINDS)


def load(name: str) -> Pretrained:
  """What was imported as `name`.

  Raises:
    UserError: nothing was, or the cached file is damaged.
  """
  path = _cached(name)
  if not path.exists():
    raise UserError(
      f"{name} needs the file {_KINDS[name].file}, which was not imported on"
      f" this machine; run {_command(name)} with its path as FILE, or with"
      " --download in place of --source."
    )
  try:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
      arrays = {key: stored[key] for key in stored.files}
    facts = json.loads(str(arrays.pop("facts")))
    if arrays.keys() != {place for place, _ in _KINDS[name].wanted().values()}:
      raise ValueError("other arrays than expected")
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
    raise UserError(
      f"{path} is damaged ({error}); import it again with {_command(name)}."
    ) from error
  origin = "official" if facts["official"] else f"sha256:{facts['sha256']}"
  return Pretrained(traverse_util.unflatten_dict(arrays, sep="/"), origin)


def provenance(name: str, origin: str) -> str:
  """What a result says of the weights: "official", "random" or a hash.

  Raises:
    UserError: as `load`, where they are "imported".
  """
  return load(name).provenance if origin == "imported" else origin


def import_file(name: str, source: Path) -> None:
  """Checks a file and keeps its numbers in the user's cache.

  Args:
    name: one of `names()`.
    source: PyTorch's or safetensors' file, with torchvision's names.

  Raises:
    UserError: the file cannot be read or does not fit.
  """
  kind = _KINDS[name]
  wanted, found = kind.wanted(), tensor_file.read(source)
  _check_fit(name, source, wanted, found)
  arrays = {
    path: _convert(path, found[key].read()) for key, (path, _) in wanted.items()
  }
  _check_values(source, arrays)
  digest = _sha256(source)
  official = digest.startswith(kind.digest)
  _store(name, arrays, {"sha256": digest, "official": official})
  if not official:
    print(
      f"{source} is not the official {kind.file}, whose SHA-256 starts with"
      f" {kind.digest[:8]} (here {digest[:8]}); every result with it says so."
    )
  print(f"{name} is in {_cached(name)}.")


def download(name: str) -> None:
  """Fetches the official file and imports it.

  Raises:
    UserError: it cannot be reached, or is not what it should be.
  """
  kind = _KINDS[name]
  with _writing(), tempfile.TemporaryDirectory(dir=_folder()) as folder:
    path = Path(folder) / kind.file
    _fetch(name, kind.url, path)
    digest = _sha256(path)
    if not digest.startswith(kind.digest):
      raise UserError(
        f"what came from {kind.url} is not the official file (SHA-256"
        f" {digest[:8]}..., not {kind.digest[:8]}...): it is incomplete or was"
        f" changed on the way; get it otherwise and run {_command(name)}."
      )
    import_file(name, path)


# By PyTorch's name: the path of our array, and PyTorch's shape.
_Wanted = dict[str, tuple[str, tuple[int, ...]]]


@dataclasses.dataclass(frozen=True)
class _Kind:
  """What there is to know of one entry.

  Attributes:
    url: of the official file.
    digest: its SHA-256, or how that begins.
    wanted: the tensors to take from it.
    ignored: patterns of names that may be there besides.
  """

  url: str
  digest: str
  wanted: Callable[[], _Wanted]
  ignored: tuple[str, ...]

  @property
  def file(self) -> str:
    return self.url.rsplit("/", 1)[-1]


def _net(
  url: str,
  digest: str,
  init: Callable[[jax.Array], Any],
  torch_name: Callable[[list[str]], str],
  ignored: tuple[str, ...],
) -> _Kind:
  """A net of torchvision; `torch_name` names one of its modules there."""

  def wanted() -> _Wanted:
    shapes = traverse_util.flatten_dict(
      jax.eval_shape(init, jax.random.key(0)), sep="/"
    )
    return dict(_by_torch_name(shapes, torch_name))

  return _Kind(url, digest, wanted, ignored)


_LEAVES = {
  "kernel": "weight",
  "scale": "weight",
  "bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
}


def _by_torch_name(shapes, torch_name) -> Iterator:
  for path, leaf in shapes.items():
    _, *module, name = path.split("/")
    shape = leaf.shape
    if name == "kernel":
      shape = (shape[3], shape[2], *shape[:2])
    yield f"{torch_name(module)}.{_LEAVES[name]}", (path, shape)


def _convert(path: str, value: np.ndarray) -> np.ndarray:
  """Our layout of an array: kernels height, width, in, out, the rest flat."""
  value = value.astype(np.float32)
  if path.endswith("/kernel"):
    return np.ascontiguousarray(value.transpose(2, 3, 1, 0))
  return value.reshape(-1)


def _init_vgg19(key: jax.Array) -> Any:
  net: nn.Module = vgg.VGG19(layers=vgg.LAYERS[-1:])
  return net.init(key, jnp.zeros((1, 32, 32, 3)))


def _init_resnet18(key: jax.Array) -> Any:
  net: nn.Module = resnet.ResNet18()
  return net.init(key, jnp.zeros((1, 32, 32, 3)), train=False)


_KINDS: Mapping[str, _Kind] = {
  "vgg19": _net(
    "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
    "dcbb9e9d",
    _init_vgg19,
    lambda module: f"features.{vgg.LAYERS.index(module[0])}",
    ("classifier.*",),
  ),
  "resnet18": _net(
    "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "f37072fd",
    _init_resnet18,
    lambda module: ".".join(module).replace("_", "."),
    ("fc.*", "*.num_batches_tracked"),
  ),
  # Mean and standard deviation of relu4_2's channels on ImageNet.
  "vgg19_r42": _Kind(
    "https://raw.githubusercontent.com/caiyu6666/MedIAnomaly/"
    "507201cb8e604b7d970c388784f55c06bb32d013/reconstruction/utils/data/"
    "vgg19_ILSVRC2012_object_detection_mean_var.pt",
    "f0c8f0ce94a9239176103a71ad457af705721530889eb5cc9e77dfc73b01b38c",
    lambda: {
      "r42.0": ("mean", (1, 512, 1, 1)),
      "r42.1": ("scale", (1, 512, 1, 1)),
    },
    ("[crp]*.[01]",),  # the other layers
  ),
}


def _check_fit(
  name: str,
  source: Path,
  wanted: _Wanted,
  found: Mapping[str, tensor_file.Tensor],
) -> None:
  kind = _KINDS[name]
  offenders = [f"-{key}" for key in wanted if key not in found]
  offenders += [
    f"+{key}"
    for key in found
    if key not in wanted
    and not any(fnmatch.fnmatchcase(key, p) for p in kind.ignored)
  ]
  offenders += [
    f"{key} {found[key].shape} instead of {shape}"
    for key, (_, shape) in wanted.items()
    if key in found and found[key].shape != shape
  ]
  if offenders:
    raise UserError(
      f"{source} does not fit {name} (- is missing, + is unknown):"
      f" {', '.join(offenders)}; give {kind.file} or a file with its names and"
      " shapes."
    )


def _check_values(source: Path, arrays: Arrays) -> None:
  least = {"scale": np.finfo(np.float32).tiny, "var": 0.0}
  offenders = []
  for path, value in arrays.items():
    # The statistics' scale divides; a normalization's may have any sign.
    name = path.rsplit("/", 1)[-1] if path.endswith("/var") else path
    if not (np.isfinite(value) & (value >= least.get(name, -np.inf))).all():
      offenders.append(path)
  if offenders:
    raise UserError(
      f"{source} holds numbers that are not finite, or negative variances, in"
      f" {', '.join(offenders)}; give a sound file."
    )


def _sha256(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(name: str, url: str, path: Path) -> None:
  print(f"downloading {url}", flush=True)
  try:
    with urllib.request.urlopen(url, timeout=60) as response:
      with path.open("wb") as file:
        shutil.copyfileobj(response, file, 1 << 20)
  except (
    urllib.error.URLError,
    http.client.HTTPException,
    TimeoutError,
    ConnectionError,
    ssl.SSLError,
  ) as error:
    raise UserError(
      f"{url} could not be downloaded ({error}); get the file on another"
      f" machine and run {_command(name)}."
    ) from error


def _store(name: str, arrays: Arrays, facts: Mapping[str, Any]) -> None:
  """Writes the cached file whole or not at all."""
  stored: dict[str, Any] = {"facts": np.asarray(json.dumps(facts)), **arrays}
  with _writing():
    with tempfile.TemporaryDirectory(dir=_folder()) as folder:
      path = Path(folder) / "new.npz"
      np.savez(path, **stored)
      path.replace(_cached(name))


@contextlib.contextmanager
def _writing() -> Iterator[None]:
  """A folder that cannot be written, or a full disk, is the user's to mend."""
  try:
    yield
  except OSError as error:
    raise UserError(
      f"{files.cache_dir()} cannot be written ({error.strerror or error}); set"
      " MEDAD_CACHE_DIR to a folder with room."
    ) from error


def _command(name: str) -> str:
  return f"python -m medad_jax.weights {name} --source=FILE"


def _cached(name: str) -> Path:
  return files.cache_dir() / "weights" / f"{name}.npz"


def _folder() -> Path:
  folder = files.cache_dir() / "weights"
  folder.mkdir(parents=True, exist_ok=True)
  return folder
