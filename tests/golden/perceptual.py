"""DPA's and PIAD's golden cases: methods, parameters, VGG19 and random draws.

Keys of parameters begin with `enc.`, `dec.`, `ddis.` or `edis.`; a kernel of
VGG19 is 1.4 times the filled one.
"""

import functools
import json
from typing import Any
import zlib

import jax
import numpy as np

from medad_jax import types
from medad_jax.methods import dpa
from medad_jax.nets import perceptual, vgg
from medad_jax.training import Length, Optimizer
from medad_jax.weights import conversion, residual_names
from tests.golden import cases, filler, torchvision

LAYERS = {f"r{name[4]}2": name for name in perceptual.LAYERS}
_TEXTS = ("config", "shapes", "grad_norms", "delta_norms", "param_norms")


@functools.cache
def load(case: str) -> dict[str, Any]:
  """The arrays of a case; texts as what they encode."""
  found = cases.load(case)
  return {
    name: json.loads(str(value))
    if isinstance(value, np.ndarray) and value.dtype.kind == "U"
    else value
    for name, value in found.items()
  }


def dpa_method(case: str, **options: Any) -> dpa.Method:
  """The method of a case without growing."""
  config = load(case)["config"]
  loss = config["loss"]
  layers = tuple(LAYERS[name] for name in loss.get("layers", ()))
  l1 = {"relative": 0.0, "l1": 1.0}.get(loss["type"], loss.get("l1"))
  adam = config["adam"]
  return dpa.Method(
    channels=tuple(config["enc_inner_dims"]),
    decoder_channels=tuple(config["dec_inner_dims"]),
    latent=config["latent_dim"],
    latent_side=config["latent_res"],
    layers=layers or ("relu4_2",),
    perceptual_weight=float(loss["type"] != "l1"),
    l1_weight=l1,
    adversarial_weight=config.get("adv_weight", 0.0),
    critic_batches=config.get("n_dis", 2),
    optimizer=Optimizer(learning_rate=adam["lr"]),
    length=Length(steps=100, batch_size=4),
    **options,
  )


def table(case: str) -> conversion.Table:
  """PyTorch's names of a case's modules."""
  config = load(case)["config"]
  side = config.get("latent_res", 1)
  return {
    **residual_names.encoder(latent_side=side),
    **residual_names.decoder(latent_side=side),
    **residual_names.encoder("ddis.", "critic"),
    **residual_names.latent_critic(len(config.get("edis_inner_dims", ())) + 1),
  }


@functools.cache
def parameters(case: str, part: str = "") -> Any:
  """The filled parameters by part: "net", and critics where there are any."""
  shapes = load(case)["shapes"]
  state = filler.named(
    case, {k: v for k, v in shapes.items() if k.startswith(part)}
  )
  return conversion.to_flax(table(case), state)["params"]


def norms(case: str, tree: Any) -> dict[str, float]:
  """L2 norms of a tree like the parameters, by PyTorch's key."""
  state = conversion.to_torch(table(case), {"params": jax.device_get(tree)})
  return {key: float(np.linalg.norm(value)) for key, value in state.items()}


@functools.cache
def features() -> types.TrainState:
  """VGG19 up to relu4_2, filled, and the published statistics."""
  filled = filler.named("vgg19", torchvision.vgg19())
  net = {}
  for place, name in enumerate(vgg.LAYERS[: vgg.LAYERS.index("relu4_2")]):
    if name.startswith("conv"):
      kernel = np.float32(1.4) * filled[f"features.{place}.weight"]
      net[name] = {
        "kernel": kernel.transpose(2, 3, 1, 0),
        "bias": filled[f"features.{place}.bias"],
      }
  known = {
    name: dict(perceptual.statistics(name)) for name in perceptual.LAYERS
  }
  # NumPy's arrays: a cached value must not belong to a trace.
  return state({"vgg19": net, "statistics": known})


def state(params: Any) -> types.TrainState:
  """One member's state, to predict with."""
  return types.TrainState(step=0, params=params, extra={}, opt={}, key=None)


def images(name: str, shape: Any) -> jax.Array:
  """Filled images [b h w c]."""
  return cases.channels_last(filler.named_images(name, tuple(shape)))


def draw(name: str, shape: tuple[int, ...], kind: str = "uniform"):
  """Random numbers of a name, float32: "uniform" or "standard_normal"."""
  stream = np.random.RandomState(zlib.crc32(name.encode()))
  return getattr(stream, kind)(size=shape).astype(np.float32)
