"""The golden cases: methods, what they start from, losses without draws."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax import losses, types
from medad_jax.augment.nsa import synthesis
from medad_jax.methods import (
  _net,
  _one_stage,
  _two_stage,
  ae,
  ae_l1,
  ae_perceptual,
  ae_spatial,
  ae_ssim,
  aeu,
  constrained_ae,
  cutpaste_2s,
  dae,
  ddad,
  ganomaly,
  memae,
  nsa,
  vae,
)
from medad_jax.nets import vgg
from medad_jax.scoring import discrepancy
from medad_jax.training import Optimizer
from tests.golden import (
  cases,
  filler,
  imported,
  layout,
  synthetic_vgg,
  torchvision,
)
from tests.methods import stepping

NET = {"hidden": 1024}
VAE = vae.Method(**NET)
DDAD = {
  "ddad_ae": ae.Method(),
  "ddad_aeu": aeu.Method(),
  "ddad_memae": memae.Method(),
  "ddad_memae_shrink": memae.Method(threshold=0.045),
}
RECONSTRUCTION = {
  "recon_ae": ae.Method(**NET),
  "recon_ae_rgb": ae.Method(**NET),
  "recon_ae_deep": ae.Method(32, 32, 1024, 2, 3),
  "recon_ae_grad": ae.Method(**NET),
  "recon_ae_l1": ae_l1.Method(**NET),
  "recon_ae_perceptual": ae_perceptual.Method(**NET),
  "recon_ae_ssim": ae_ssim.Method(**NET),
  "recon_ae_spatial": ae_spatial.Method(**NET),
  "recon_aeu": aeu.Method(**NET),
  "recon_constrained_ae": constrained_ae.Method(**NET),
  "recon_memae": memae.Method(threshold=0.0025, **NET),
  "recon_vae": VAE,
  "recon_vae_rec": VAE,
  "recon_vae_kl": VAE,
  "recon_vae_elbo": VAE,
  "recon_vae_combi": VAE,
}
OTHERS = {
  "ddad_refine": ddad.Method(),
  "recon_dae_unet": dae.Method(),
  "recon_ganomaly": ganomaly.Method(**NET),
  "ssl_encdec_sigmoid": nsa.Method(),
  "ssl_encdec_relu": nsa.Method(
    recipe=dataclasses.replace(synthesis.NSA, label="raw")
  ),
  "ssl_projection": cutpaste_2s.Method(variant="3way", layers=8),
}
ALL = {**DDAD, **RECONSTRUCTION, **OTHERS}


PROJECTION = Optimizer("sgd", 0.03, momentum=0.9, weight_decay=3e-5)


def optimizer(name: str) -> Optimizer:
  """How the official code trains a case."""
  if name == "ddad_refine":
    return cases.REFINEMENT
  if name in DDAD:
    return cases.ENSEMBLES
  return PROJECTION if name == "ssl_projection" else cases.MEDIANOMALY


def layout_of(name: str) -> Callable[[filler.State], tuple[Any, Any]]:
  """What turns a case's `state_dict` into our parameters and statistics."""
  if name == "ddad_refine":
    return layout.refine_net
  if name in DDAD:
    return layout.autoencoder
  if name == "ssl_projection":
    return layout.projection
  if name.startswith("ssl_encdec"):
    return layout.encoder_decoder
  return layout.reconstruction


def start(name: str) -> tuple[Any, Any]:
  """Filled parameters and running statistics, by part."""
  state = filler.named(name, cases.load(name)["shapes"])
  if name == "ddad_refine" or name in DDAD:
    params, extra = layout_of(name)(state)
    return {"net": params}, {"net": extra}
  # By way of a file, so that what is imported gives the expected numbers.
  shape = images(name).shape[1:]
  # The package has float32 alone, also where a test computes in float64.
  with jax.enable_x64(False):
    params, extra = imported.trees(ALL[name], shape, state)
  if name != "recon_ganomaly":
    return params, extra
  epoch = {"loss": np.float32(0), "images": np.float32(0)}
  return params, {**extra, "epoch": epoch}


def images(name: str) -> jax.Array:
  """The images of a case."""
  case, shape, count = "recon", (4, 1, 64, 64), 4
  if name in DDAD:
    case = "ddad"
  elif name == "recon_ae_rgb":
    case, shape = "recon_rgb", (2, 3, 64, 64)
  elif name == "recon_dae_unet":
    case, shape = "recon_128", (1, 1, 128, 128)
  elif name.startswith("ssl_encdec"):
    case, shape = "ssl_one", (2, 1, 128, 128)
  elif name == "ssl_projection":
    case, shape = "ssl_two", (3, 3, 96, 96)
  elif name in ("recon_ae_deep", "recon_ae_perceptual"):
    count = 2
  return cases.channels_last(filler.named_images(case, shape)[:count])


def discrepancies() -> jax.Array:
  """The refinement's input: inter and intra of made-up reconstructions."""
  unknown, normative = (
    jnp.asarray(filler.named_images(f"ddad_{x}", (3, 2, 64, 64)))[..., None]
    for x in "ab"
  )
  inter = discrepancy.inter_map(unknown, normative)
  intra = discrepancy.intra_map(normative)
  return jnp.stack([inter, intra], -1)


def batch(name: str) -> dict[str, Any]:
  """A case's images and whatever `stepper` wants beside them."""
  if name == "ddad_refine":
    mask = cases.load(name)["mask"][:, 0].astype(bool)
    return {"image": discrepancies(), "mask": mask}
  image = images(name)
  given = dict(cases.batch_of(image))
  if name.startswith("recon_vae"):
    given["noise"] = noise(name, len(image))
  elif name.startswith("ssl_encdec"):
    target = filler.named_images("ssl_lab", (2, 1, 128, 128))[:, 0] > 0.3
    given["target"] = target.astype(np.float32)
  elif name == "ssl_projection":
    given["view"] = jnp.arange(len(image))
  return given


def noise(name: str, count: int) -> np.ndarray:
  """The random part of `count` codes of 16 numbers."""
  draw = np.random.RandomState(zlib.crc32(f"{name}/eps".encode()))
  return draw.standard_normal((count, 16)).astype(np.float32)


def own(name: str) -> dict[str, types.TrainState]:
  """The states of earlier stages."""
  return {"features": features()} if name == "recon_ae_perceptual" else {}


def features() -> types.TrainState:
  """VGG19 as the perceptual case has it."""
  state = filler.named("vgg19", torchvision.vgg19())
  net = {}
  for place, name in enumerate(vgg.LAYERS[: vgg.LAYERS.index("relu4_2")]):
    if name.startswith("conv"):
      kernel = np.float32(1.4) * state[f"features.{place}.weight"]
      net[name] = {
        "kernel": kernel.transpose(2, 3, 1, 0),
        "bias": state[f"features.{place}.bias"],
      }
  mean, scale = synthetic_vgg.statistics()
  params = {"vgg19": net, "vgg19_r42": {"mean": mean, "scale": scale}}
  return cases.state_of(None, None).replace(
    params=jax.tree.map(jnp.asarray, params)
  )


@functools.cache
def stepper(method: Any, optimizer: Optimizer) -> stepping.Stepper:
  """The step of a method's loss, after its random draws where it has some.

  These are then in the batch: "noise" of a VAE, "mask" of pasted squares,
  "target" of an anomaly map or "view" of a classifier.
  """
  loss = _loss(method)
  if loss is None:
    return stepping.of_method(method, optimizer)
  return stepping.of_loss(loss, optimizer)


def _loss(method):
  def of_vae(params, extra, batch, context):
    return method.loss_of(params, extra, batch, batch["noise"], context)

  def of_dae(params, extra, batch, context):
    out, extra = method.apply(params, extra, batch["image"], context)
    loss, metrics = method.objective(out, batch["image"])
    return loss, (extra, metrics)

  def of_net(net, objective):
    def loss(params, extra, batch, context):
      net_ = net(context.axis)
      out, extra = _net.train(net_, params, extra, batch["image"])
      return jnp.mean(objective(out, batch)), (extra, {})

    return loss

  if isinstance(method, vae.Method):
    return of_vae
  if isinstance(method, dae.Method):
    return of_dae
  if isinstance(method, ddad.Method):
    return of_net(
      method._net, lambda out, batch: losses.focal(out, batch["mask"])
    )
  if isinstance(method, _one_stage.OneStage):
    return of_net(
      method.net, lambda out, batch: method.objective(out, batch["target"])
    )
  if isinstance(method, _two_stage.TwoStage):
    return of_net(
      method.net,
      lambda out, batch: losses.cross_entropy(out["logits"], batch["view"]),
    )
  return None
