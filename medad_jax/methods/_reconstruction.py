"""What methods share that reconstruct an image with one net."""

import abc
import dataclasses
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from medad_jax import rng, types
from medad_jax.scoring import maps


@dataclasses.dataclass(frozen=True)
class Reconstruction(abc.ABC):
  """Members are trained apart; their mean reconstruction is compared.

  Attributes:
    width: channels of the net's first layer.
    latent: length of the code.
    hidden: width of the dense layers around the code.
    members: nets trained on the normal pool, with different random numbers.
    training: length and optimizer.
  """

  width: int = 16
  latent: int = 16
  hidden: int = 2048
  members: int = 1
  training: types.Training = types.Training(
    epochs=250, batch_size=64, learning_rate=5e-4, b1=0.5, b2=0.999
  )

  @abc.abstractmethod
  def net(self, axis: types.Axis) -> nn.Module:
    """The net, called with (image, train); returns at least "x_hat"."""

  @abc.abstractmethod
  def loss(
    self, params: Any, extra: Any, batch: types.Batch, context: types.Context
  ) -> tuple[Float[Array, ""], tuple[Any, types.Metrics]]:
    """See `types.Loss`."""

  def init(
    self, key: PRNGKeyArray, image_shape: tuple[int, int, int]
  ) -> tuple[Any, Any]:
    """Parameters and running statistics of one member, under "net"."""
    image = jnp.zeros((1, *image_shape))
    variables = self.net(types.Axis()).init(
      rng.stream(key, "net"), image, train=False
    )
    return {"net": variables["params"]}, {"net": variables["batch_stats"]}

  @property
  def score_names(self) -> tuple[str, ...]:
    """ "rec_k" of each member, then "rec" of all."""
    return (*(f"rec_{k}" for k in range(self.members)), "rec")

  def phases(self) -> tuple[types.Phase, ...]:
    pools = ("normal",) * self.members
    return (types.Phase("train", self.training, pools, self.init, self.loss),)

  def predict(self, states, batch: types.Batch) -> types.Preds:
    """ "x_hat" and, where the net predicts variances, "log_var"."""
    state = states["train"]
    variables = _variables(state.params, state.extra)
    out = self.net(types.Axis()).apply(variables, batch["image"], train=False)
    return {name: out[name] for name in ("x_hat", "log_var") if name in out}

  def score(
    self, preds: types.Preds, batch: types.Batch, fitted
  ) -> types.Scores:
    """ "rec_k" of each member and "rec" of their mean reconstruction."""
    del fitted
    x_hat = jnp.mean(preds["x_hat"], 0)
    rec = maps.error_map(batch["image"], x_hat, maps.mean_variance(preds))
    image = member_scores(batch["image"], preds)
    image["rec"] = maps.image_score(rec)
    return types.Scores(image, {"rec": rec}, x_hat)

  def apply(
    self, params: Any, extra: Any, batch: types.Batch, context: types.Context
  ) -> tuple[dict[str, Array], Any]:
    """The net in training: its outputs and the new running statistics."""
    out, extra = self.net(context.axis).apply(
      _variables(params, extra),
      batch["image"],
      train=True,
      mutable=["batch_stats"],
    )
    return out, {"net": extra["batch_stats"]}


def member_scores(
  image: Float[Array, "b h w c"], preds: types.Preds
) -> dict[str, Float[Array, "b"]]:
  """Image scores "rec_0", "rec_1", ... of the members by themselves."""
  scores = jax.vmap(maps.image_score)(maps.member_maps(image, preds))
  return {f"rec_{k}": score for k, score in enumerate(scores)}


def _variables(params, extra):
  return {"params": params["net"], "batch_stats": extra["net"]}
