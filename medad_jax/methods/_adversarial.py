"""GANomaly's losses and score: two encoders around a decoder, and a judge."""

import dataclasses
from typing import Any, ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from medad_jax import losses, rng, steps, types
from medad_jax.methods import _net, _reconstruction
from medad_jax.ranges import Weight
from medad_jax.weights import layout
from medad_jax.weights.conversion import Table


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adversarial(_reconstruction.Coding):
  """Encodes, decodes and encodes again, against a discriminator.

  A method gives the nets: the generator, whose outputs are "x_hat", "latent"
  and "latent_hat", and a discriminator of (image, train) with a logit and
  features.

  Attributes:
    adversarial_weight: weight of the features' error.
    error_weight: weight of the image's error, and of a constraint.
    latent_weight: weight of the code's error.
  """

  adversarial_weight: Weight = 1.0
  error_weight: Weight = 50.0
  latent_weight: Weight = 1.0

  # Whether the discriminator's statistics see the real images in its own turn
  # too, as they have seen them in the generator's.
  sees_twice: ClassVar[bool] = False

  @property
  def score_names(self):
    """ "latent" alone, the mean of all members."""
    return ("latent",)

  def discriminator(self, axis: types.Axis) -> nn.Module:
    """The discriminator."""
    raise NotImplementedError

  def both(self, shape: tuple[int, int, int]) -> Table:
    """PyTorch's names, of the generator in "net" and the judge in "disc"."""
    raise NotImplementedError

  def files(self, shape):
    """A `model.pt` of each member, which holds both nets."""
    table = layout.under("train", self.both(shape))
    return (self.constraint.beside(layout.model(table, self.members)),)

  def image_error(
    self, x_hat: Float[Array, "b h w c"], image: Float[Array, "b h w c"]
  ) -> Float[Array, "b"]:
    """The error of reconstructions: the squared one."""
    return losses.squared_error(x_hat, image)

  def after(
    self,
    params: Any,
    extra: Any,
    context: types.Context,
    metrics: types.Metrics,
  ) -> tuple[Any, Any]:
    """Changes after a step: see `steps.After`."""
    raise NotImplementedError

  def step(self):
    """Generator, then discriminator, both from one forward pass."""
    return steps.Alternate(
      (
        steps.Turn("net", self.generate, self.optimizer),
        steps.Turn("disc", self.discriminate, self.optimizer),
      ),
      after=self.after,
    )

  def init(self, key, image_shape):
    """ "net" is the generator, "disc" the discriminator."""
    image = jnp.zeros((1, *image_shape))
    params, extra = _net.init(self.net(types.Axis()), key, image)
    second, statistics = _net.init(
      self.discriminator(types.Axis()), rng.stream(key, "disc"), image
    )
    return (
      {**params, "disc": second["net"]},
      {**extra, "disc": statistics["net"]},
    )

  def generate(self, params, extra, batch, context, handed):
    """The generator's loss; hands images and reconstructions on."""
    del handed
    batch = self.constraint.mixed(batch, context)
    image = batch["image"]
    out, generated = self.apply(params, extra, image, context)
    (_, wanted), extra = self._judge(params, extra, image, context)
    (_, found), extra = self._judge(params, extra, out["x_hat"], context)
    parts = {
      # Features are matched, not logits. Gradients pass through the
      # discriminator, but only "net" moves in this turn.
      "adversarial": jnp.mean((found - wanted) ** 2),
      "error": jnp.mean(self.image_error(out["x_hat"], image)),
      "latent": jnp.mean((out["latent"] - out["latent_hat"]) ** 2),
    }
    term, more = self.constraint.term(
      params, extra, out["latent"], batch, context.axis
    )
    loss = (
      self.adversarial_weight * parts["adversarial"]
      + self.error_weight * (parts["error"] + term)
      + self.latent_weight * parts["latent"]
    )
    handed = image, out["x_hat"]
    return loss, ({**extra, **generated}, {**parts, **more}, handed)

  def discriminate(self, params, extra, batch, context, handed):
    """The discriminator's loss of the images and the generator's x_hat."""
    del batch
    # Handed on as numbers: no gradient reaches the generator.
    image, x_hat = handed
    (real, _), seen = self._judge(params, extra, image, context)
    extra = seen if self.sees_twice else extra
    (fake, _), extra = self._judge(params, extra, x_hat, context)
    loss = jnp.mean(losses.real_or_fake(real, fake))
    return loss, (extra, {}, None)

  def _judge(self, params, extra, image, context):
    """The discriminator's outputs in training, and its new statistics."""
    out, new = _net.train(
      self.discriminator(context.axis),
      {"net": params["disc"]},
      {"net": extra["disc"]},
      image,
    )
    return out, {**extra, "disc": new["net"]}

  def reconstruct(self, state, image):
    """ "x_hat", "latent" and "latent_hat"."""
    return self.outputs(state, image)

  def score(self, preds, batch, fitted):
    """ "latent", the mean over members; there is no map."""
    del batch, fitted
    gap = jnp.mean((preds["latent"] - preds["latent_hat"]) ** 2, -1)
    x_hat = jnp.mean(preds["x_hat"], 0)
    return types.Scores({"latent": jnp.mean(gap, 0)}, {}, x_hat)


def redrawn(params: Any, key: PRNGKeyArray, again: Any) -> Any:
  """A discriminator drawn anew where `again` says so.

  Convolutions are normal (0, 0.02), scales (1, 0.02), biases 0; dense layers
  stay, as the official codes go by the names of classes.

  Args:
    params: of the discriminator.
    key: for the draws.
    again: bool [].
  """

  def draw(path, old):
    layer, name = (part.key for part in path[-2:])
    if layer.startswith("Dense"):
      return old
    noise = 0.02 * jax.random.normal(
      rng.stream(key, jax.tree_util.keystr(path)), old.shape
    )
    new = {"kernel": noise, "scale": 1 + noise, "bias": 0 * old}[name]
    # Drawn at every step and rarely used: under vmap a condition would compute
    # both branches, too.
    return jnp.where(again, new, old)

  return jax.tree_util.tree_map_with_path(draw, params)
