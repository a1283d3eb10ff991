"""AE-PL: the autoencoder judged by a classifier's features.

Paper: Shvetsova et al., IEEE Access 2021, arXiv 2006.13265, as in MedIAnomaly
(Cai et al., Medical Image Analysis 2025, arXiv 2404.04518). Scored: the
relative distance of image and reconstruction in VGG19's relu4_2, at the image's
size.

VGG19 and its features' statistics are imported (`python -m medad_jax.weights`)
and travel with the checkpoints. As the official code: features are divided by
what its file calls variances. They are standard deviations, so no root is due.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import rng, types
from medad_jax.methods import _reconstruction
from medad_jax.nets import perceptual, vgg
from medad_jax.scoring import discrepancy

_KNOWN = "relu4_2"  # the layer whose statistics there are


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.Autoencoding):
  """Hyper-parameters of AE-PL.

  Attributes:
    weights: "imported", or "random" to try the program without VGG19's.
    layer: of VGG19, whose outputs are compared; statistics are imported of
      relu4_2 alone.
  """

  weights: types.Origin = "imported"
  layer: str = _KNOWN

  def __post_init__(self):
    possible = vgg.LAYERS if self.weights == "random" else (_KNOWN,)
    if self.layer not in possible:
      raise types.UserError(
        f"model.layer='{self.layer}' was given with {self.weights} weights;"
        f" choose one of {', '.join(possible)}"
      )

  def phases(self):
    """ "features", which are not trained, then "train"."""
    features = types.Pretrained(
      "features",
      self.init_features,
      {"vgg19": self.weights, "vgg19_r42": self.weights},
      # One copy for all members: nothing in it is trained.
      shared=True,
    )
    (train,) = super().phases()
    # The monitor would need VGG19, too; held-out images are not measured.
    train = dataclasses.replace(train, reads=("features",), monitors={})
    return (features, train)

  def init_features(self, key, image_shape):
    """VGG19 up to the layer, and statistics that change nothing."""
    del image_shape
    # Any size will do, as all layers are convolutions.
    image = jnp.zeros((1, 32, 32, 3))
    net = vgg.VGG19((self.layer,)).init(rng.stream(key, "vgg19"), image)[
      "params"
    ]
    channels = vgg.CHANNELS[self.layer]
    statistics = {"mean": jnp.zeros(channels), "scale": jnp.ones(channels)}
    return {"vgg19": net, "vgg19_r42": statistics}, {}

  def loss(self, params, extra, batch, context):
    """Mean distance of the features."""
    batch = self.constraint.mixed(batch, context)
    image = batch["image"]
    out, new = self.apply(params, extra, image, context)
    term, parts = self.constraint.term(
      params, extra, out["latent"], batch, context.axis
    )
    # The gradient passes through VGG19 to x_hat. Its own parameters are not in
    # `params`, so they stay.
    distance = self.distance(context.own["features"], image, out["x_hat"])
    return jnp.mean(distance) + term, ({**extra, **new}, parts)

  def score(self, preds, batch, fitted):
    """ "rec_k" of each of several members, "rec" of their mean."""
    image = batch["image"]
    # The stage has one member, on the leading axis.
    features = jax.tree.map(lambda x: x[0], fitted["features"])

    def rec(x_hat):
      distance = self.distance(features, image, x_hat)
      return perceptual.upsample(distance, image.shape[1:3])

    x_hat = jnp.mean(preds["x_hat"], 0)
    pixels = rec(x_hat)
    scores = {"rec": discrepancy.image_score(pixels)}
    if self.members > 1:
      for k, single in enumerate(preds["x_hat"]):
        scores[f"rec_{k}"] = discrepancy.image_score(rec(single))
    return types.Scores(scores, {"rec": pixels}, x_hat)

  def distance(
    self,
    features: types.TrainState,
    image: Float[Array, "b h w c"],
    x_hat: Float[Array, "b h w c"],
  ) -> Float[Array, "b y x"]:
    """Distance of the features of VGG19, the state of "features"."""
    params = features.params

    def see(image):
      net, x = vgg.VGG19((self.layer,)), perceptual.preprocess(image)
      return net.apply({"params": params["vgg19"]}, x)[self.layer]

    return perceptual.relative_l1(see(image), see(x_hat), **params["vgg19_r42"])
