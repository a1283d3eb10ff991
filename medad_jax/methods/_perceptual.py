"""The common part of DPA and PIAD: a residual net judged by features of VGG19.

VGG19 is imported (`python -m medad_jax.weights`) and travels with the
checkpoints. Gray images become three equal channels, and a reconstruction is
not clipped. The pixel map shows the distances of the features, brought up to
the image's size; an image's score is its mean.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any, ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import losses, rng, types
from medad_jax.methods import _net, _reconstruction
from medad_jax.nets import ops, perceptual, residual, vgg
from medad_jax.nets.perceptual import Layer
from medad_jax.ranges import Width
from medad_jax.scoring import discrepancy
from medad_jax.weights import layout, residual_names
from medad_jax.weights.conversion import Table

# WGAN-GP's constants, the same in every published configuration.
_PENALTY, _DRIFT = 10.0, 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Perceptual(_reconstruction.Reconstruction):
  """Hyper-parameters of both.

  Attributes:
    channels: of the encoder, read from the end: the last entry is that of the
      innermost resolution, 4x4 where the code has one pixel.
    decoder_channels: of the decoder, read from the start; none for those of the
      encoder in reverse. Longer lists give both nets other entries than one may
      expect, as published (`nets/residual.py`).
    latent: channels of the code.
    latent_side: pixels a side of the code: 1, or 4 or more.
    layers: of VGG19, whose distances are averaged.
    weights: "imported", or "random" to try the program without VGG19's.
  """

  channels: tuple[Width, ...] = (16, 16, 16, 16, 16)
  decoder_channels: tuple[Width, ...] = ()
  latent: Width = 16
  latent_side: Width = 1
  layers: tuple[Layer, ...] = ("relu4_2",)
  weights: types.Origin = "imported"

  depth: ClassVar[int]  # residual blocks a resolution
  # On CPUs the gradients of VGG19's convolutions are slow inside a loop.
  looped: ClassVar[bool] = False

  def __post_init__(self):
    if not self.layers:
      raise types.UserError(
        "model.layers=() was given; name one or more of VGG19's layers:"
        f" {', '.join(perceptual.LAYERS)}."
      )

  def net(self, axis: types.Axis) -> residual.Autoencoder:
    """The net, called with (image, alpha)."""
    del axis  # nothing is normalized over the batch
    return residual.Autoencoder(
      self.channels,
      self.decoder_channels or self.channels[::-1],
      self.latent,
      self.latent_side,
      self.depth,
    )

  def init(self, key, image_shape):
    """The net's parameters, under "net"."""
    image = jnp.zeros((1, *image_shape))
    found = self.net(types.Axis()).init(rng.stream(key, "net"), image)
    return {"net": found["params"]}, {}

  def table(self):
    """DPA's names, which PIAD's are, too."""
    # Its file has other modules of a net with a code of several pixels.
    side = self.latent_side
    return {
      **residual_names.encoder(flax="encoder", latent_side=side),
      **residual_names.decoder(flax="decoder", latent_side=side),
    }

  def files(self, shape):
    """An `anomaly_detection.tar` of each member.

    A file of the whole training holds critics, optimizer and images besides.
    """
    (file,) = super().files(shape)
    ignored = ("optimizer.*", "mix_res_module.*", "display_x", "best_val_loss")
    return (dataclasses.replace(file, ignored=(*ignored, "ddis.*", "edis.*")),)

  def with_critic(
    self, file: layout.File, name: str, table: Table
  ) -> layout.File:
    """The file with a critic, which it may lack."""
    part = f"train/{name}"
    return dataclasses.replace(
      file,
      table={**file.table, **layout.under("train", table)},
      optional=(*file.optional, part),
    )

  def features(self, layers: Sequence[Layer]) -> types.Pretrained:
    """The stage of VGG19 up to these layers, with their statistics."""

    def init(key, image_shape):
      del image_shape
      # Any size will do, as all layers are convolutions.
      image = jnp.zeros((1, 32, 32, 3))
      net = vgg.VGG19(tuple(layers)).init(rng.stream(key, "vgg19"), image)
      known = {name: self._statistics(name) for name in layers}
      return {"vgg19": net["params"], "statistics": known}, {}

    # One copy for all members: nothing in it is trained.
    return types.Pretrained(
      "features", init, {"vgg19": self.weights}, shared=True
    )

  def _statistics(self, layer):
    if self.weights == "imported":
      return jax.tree.map(jnp.asarray, dict(perceptual.statistics(layer)))
    # Those of ImageNet mean nothing to a random net.
    channels = vgg.CHANNELS[layer]
    return {"mean": jnp.zeros(channels), "scale": jnp.ones(channels)}

  def distances(
    self,
    features: types.TrainState,
    layers: Sequence[Layer],
    image: Float[Array, "b h w c"],
    x_hat: Float[Array, "b h w c"],
  ) -> list[Float[Array, "b _ _"]]:
    """Relative L1 distances of the features, a map for each layer.

    Args:
      features: the state of the stage of that name.
      layers: of VGG19.
      image: images in [-1, 1].
      x_hat: their reconstructions, unbounded.
    """
    net, known = vgg.VGG19(tuple(layers)), features.params["statistics"]

    def see(image):
      params = {"params": features.params["vgg19"]}
      return net.apply(params, perceptual.preprocess(image))

    # VGG19's own parameters are in no gradient: a step differentiates by the
    # part of the method that moves.
    real, found = see(image), see(x_hat)
    return [
      perceptual.relative_l1(real[name], found[name], **known[name])
      for name in layers
    ]

  def distance(self, *args: Any) -> Float[Array, "b"]:
    """The mean over layers of each image's `distances`."""
    return _mean([discrepancy.image_score(x) for x in self.distances(*args)])

  def map_of(self, features, image, x_hat) -> Float[Array, "b h w"]:
    """The pixel map that an image's score is the mean of."""
    return _mean(
      [
        perceptual.upsample(x, image.shape[1:3])
        for x in self.distances(features, self.layers, image, x_hat)
      ]
    )

  def outputs(self, state, image, *more):
    """The net's "x_hat" [b h w c] and "latent" [b z] of images."""
    out = _net.apply(
      self.net(types.Axis()),
      state.params,
      image,
      *more,
      precision=self.precision,
    )
    # Flat codes, as all methods return them.
    return out | {"latent": out["latent"].reshape(len(image), -1)}

  def score(self, preds, batch, fitted):
    """ "rec_k" of each of several members, "rec" of their mean."""
    # The stage has one member, on the leading axis. It is missing where nothing
    # is compared by features.
    features = jax.tree.map(lambda x: x[0], fitted.get("features"))
    image, x_hat = batch["image"], jnp.mean(preds["x_hat"], 0)
    pixels = self.map_of(features, image, x_hat)
    scores = {"rec": discrepancy.image_score(pixels)}
    if self.members > 1:
      for k, single in enumerate(preds["x_hat"]):
        own = self.map_of(features, image, single)
        scores[f"rec_{k}"] = discrepancy.image_score(own)
    return types.Scores(scores, {"rec": pixels}, x_hat)

  def judged(
    self, critic: nn.Module, params: Any, x: Float[Array, "b *n"]
  ) -> Float[Array, "b"]:
    """One number an example, by a critic with these parameters."""
    # The gradient penalty differentiates twice. XLA's own convolutions do that
    # at no cost, the CPU's forms take minutes to compile.
    with ops.own_forms(False):
      out = _net.apply(critic, {"net": params}, x, precision=self.precision)
    # An image's is [b 1 1 1], a code's [b].
    return out.reshape(len(x))

  def share(
    self, batch: types.Batch, context: types.Context, name: str
  ) -> Float[Array, "b"]:
    """The places between real and fake examples, uniform in [0, 1)."""
    keys = rng.per_example(rng.stream(context.key, name), batch["slot"])
    return jax.vmap(jax.random.uniform)(keys)


def criticize(
  critic: Any,
  real: Float[Array, "b *n"],
  fake: Float[Array, "b *n"],
  share: Float[Array, "b"],
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
  """WGAN-GP's loss of a critic (Gulrajani et al., NeurIPS 2017), and its parts.

  The drift term is that of Karras et al., ICLR 2018, here of both kinds.

  Args:
    critic: examples to one number each.
    real: examples.
    fake: others, constants to the gradient.
    share: see `losses.gradient_penalty`.
  """
  # A constant already where only the critic moves. The line says so, and keeps
  # it true.
  fake = jax.lax.stop_gradient(fake)
  of_real, of_fake = critic(real), critic(fake)
  parts = {
    "wasserstein": jnp.mean(of_fake) - jnp.mean(of_real),
    "drift": _DRIFT * (jnp.mean(of_real**2) + jnp.mean(of_fake**2)),
    "penalty": _PENALTY
    * jnp.mean(losses.gradient_penalty(critic, real, fake, share)),
  }
  # Each part is a mean over examples, so that devices may share a batch.
  return sum(parts.values()), parts


def _mean(values):
  return sum(values) / len(values)
