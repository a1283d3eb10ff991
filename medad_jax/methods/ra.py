"""RA: a reversed autoencoder, and perceptual differences from what it makes.

Paper: Bercea et al., "Generalizing Unsupervised Anomaly Detection: Towards
Unbiased Pathology Screening", MIDL 2023. An encoder and a decoder are trained
against each other, as by Daniel and Tamar (CVPR 2021): the encoder gives images
codes near a standard normal, and those of reconstructions and samples codes far
from it; the decoder learns to make images whose codes are near. The reversed
embedding loss lets embeddings of images and reconstructions agree. Scored:
"anomaly", the mean of a map that multiplies, after histogram equalization
(CLAHE), the absolute difference with two smoothed LPIPS maps (`nets/lpips.py`),
of the images as they are and as equalized ones.

LPIPS's nets are imported (`python -m medad_jax.weights`) and travel with the
checkpoints. As the official code: codes are drawn in tests, too, and each draw
is compared with the image; the score is their mean. There every draw is new.
Here the same seeded draws serve all images, so that a score depends on the
image alone. Batch normalization never sees a training batch, and two blocks
have projections that they would not need. The learning rate never falls, as its
schedule was given losses for epochs. `select` stands for the early stop.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, ClassVar, Literal

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import losses, rng, steps, types
from medad_jax.methods import _net
from medad_jax.nets import introspective, lpips
from medad_jax.ranges import Draws, Members, Weight, Width
from medad_jax.scoring import clahe, monitors, smoothing
from medad_jax.training import Length, Optimizer
from medad_jax.weights import layout, names

_DEVIATION = 2.0  # pixels, of the Gaussian that smooths LPIPS maps
# The official encoder is shown one black image in training mode when it is
# made: its running variances, of momentum 0.1, then stay at this for ever.
_VARIANCE = 0.9
_DRAWS = 6  # of noise, a step


@dataclasses.dataclass(frozen=True)
class Method:
  """Hyper-parameters of RA.

  Attributes:
    members: models trained apart; their maps are averaged.
    widths: channels of the levels, each of which halves the sides.
    latent: length of the code.
    projected: whether blocks between levels of equal width have a projection,
      as in the official code with its configuration file.
    batch_norm: "frozen" normalizes by fixed statistics, mean 0 and variance 0.9
      (encoder) or 1 (decoder); "batch" by those of each batch, and in tests by
      their running averages.
    error_weight: of squared errors, summed over pixels, published for 128x128.
    divergence_weight: weight of the divergences of codes, summed over z.
    negative_weight: weight of the divergence that the encoder increases.
    cycle_weight: weight of the decoder's errors on its own images.
    embedding_weight: weight of the reversed embedding loss.
    codes: "sampled" or "mean", in tests.
    draws: of sampled codes.
    perceptual: trunk of the map's LPIPS; published is "squeeze".
    weights: "imported", or "random" to try the program without LPIPS's.
    precision: of encoder and decoder (`_net.py`).
    length: of the training.
    optimizer: of the encoder, and of the decoder.
  """

  members: Members = 1
  widths: tuple[Width, ...] = (64, 128, 256, 512, 512)
  latent: Width = 128
  projected: bool = True
  batch_norm: Literal["frozen", "batch"] = "frozen"
  error_weight: Weight = 0.5
  divergence_weight: Weight = 1.0
  negative_weight: Weight = 128.0
  cycle_weight: Weight = 1e-8
  embedding_weight: Weight = 0.005
  codes: Literal["sampled", "mean"] = "sampled"
  draws: Draws = 5
  perceptual: lpips.Name = "squeeze"
  weights: types.Origin = "imported"
  precision: _net.Precision = "float32"
  length: Length = Length(epochs=1500, batch_size=8)
  optimizer: Optimizer = Optimizer(learning_rate=5e-5)

  score_names: ClassVar[tuple[str, ...]] = ("anomaly",)
  # Fixed in the official evaluation, whose figures say 5 % false positives.
  published_threshold: ClassVar[float] = 0.009

  def __post_init__(self):
    if not self.widths:
      raise types.UserError("model.widths=() was given; name a level or more.")

  def phases(self):
    """ "perceptual", which is not trained, then "train"."""
    parts = (lpips.PARTS[name] for name in self._nets)
    perceptual = types.Pretrained(
      "perceptual",
      self.init_perceptual,
      {part: self.weights for pair in parts for part in pair},
      shared=True,  # one copy judges all members
    )
    step = steps.Alternate(
      (
        steps.Turn("encoder", self.encoder_loss, self.optimizer),
        steps.Turn("decoder", self.decoder_loss, self.optimizer),
      )
    )
    train = types.Phase(
      "train",
      self.length,
      (types.NORMAL,) * self.members,
      self.init,
      step,
      monitors={"validation_loss": monitors.mean(self.validation_loss)},
      looped=False,  # convolutions 5x5 are the library's
      # More members, or other scores, leave a member as it is.
      made_of=dataclasses.replace(
        self,
        members=1,
        codes="mean",
        draws=1,
        perceptual="squeeze",
        weights="random",
      ),
    )
    return (perceptual, train)

  def files(self, shape: tuple[int, int, int]) -> tuple[layout.File, ...]:
    """A `best_model.pt` or `latest_model.pt` of each member."""
    table = names.introspective(len(self.widths), shape[0])
    return (layout.model(layout.under("train", table), self.members),)

  @property
  def _nets(self) -> tuple[lpips.Name, ...]:
    """The nets of LPIPS: the map's, and that of distances."""
    return tuple(dict.fromkeys((self.perceptual, "alex")))

  def init_perceptual(self, key, image_shape):
    """LPIPS's nets with random weights, by the names of what is imported."""
    del image_shape
    made = (lpips.init(name, key) for name in self._nets)
    return {part: net for pair in made for part, net in pair.items()}, {}

  def init(self, key, image_shape):
    """Parameters and running statistics of "encoder" and "decoder"."""
    if image_shape[-1] != 1:
      raise types.UserError(
        f"images of {image_shape[-1]} channels were given, but histogram"
        " equalization is of gray ones; set data.channels to 1."
      )
    sides, axis = image_shape[:2], types.Axis()
    made = {
      "encoder": (self._encoder(axis), jnp.zeros((1, *image_shape))),
      "decoder": (self._decoder(sides, axis), jnp.zeros((1, self.latent))),
    }
    params, extra = {}, {}
    for part, (net, inputs) in made.items():
      found, statistics = _net.init(net, rng.stream(key, part), inputs)
      params[part], extra[part] = found["net"], statistics["net"]
    extra["encoder"] = _with_variances(extra["encoder"])  # the decoder's: 1
    return params, extra

  def noise(
    self, batch: types.Batch, context: types.Context
  ) -> Float[Array, "6 b z"]:
    """The draws of a step: codes of samples, then five for codes of images."""
    keys = rng.per_example(rng.stream(context.key, "noise"), batch["slot"])
    draw = jax.vmap(lambda key: jax.random.normal(key, (_DRAWS, self.latent)))
    return jnp.swapaxes(draw(keys), 0, 1)

  def encoder_loss(self, params, extra, batch, context, handed):
    """The encoder's loss; hands the codes of the images on.

    Its gradient passes through the decoder, which does not move in this turn.
    """
    del handed
    nets = _Nets(self, params, extra, batch["image"].shape, context.axis)
    noise, image = self.noise(batch, context), _unit(batch["image"])
    (fake,) = nets.decode(noise[0])  # samples of the prior
    (code,) = nets.encode(image)
    z = introspective.sampled(code, noise[1])
    (x_hat,) = nets.decode(z)
    made = lax.stop_gradient(x_hat)
    # The official code encodes the reconstruction twice. With fixed statistics
    # both are the same; with those of batches both are averaged.
    again = () if self.batch_norm == "frozen" else (made,)
    codes = nets.encode(*again, made, fake)
    of_rec, of_fake = codes[-2:]
    rec_hat, fake_hat = nets.decode(
      introspective.sampled(of_rec, noise[2]),
      introspective.sampled(of_fake, noise[3]),
    )
    scale = 1 / image.shape[2] ** 2  # errors are sums over pixels
    parts = {
      "embedding": jnp.mean(losses.embedding_distance(code[2], codes[0][2])),
      "error": jnp.mean(_error(x_hat, image)),
      "divergence": jnp.mean(introspective.divergence(code)),
      # The target x_hat is no constant, and the encoder's gradient has a part
      # through it.
      "near_rec": self._nearness(scale, _error(rec_hat, x_hat), of_rec),
      "near_fake": self._nearness(scale, _error(fake_hat, fake), of_fake),
    }
    loss = (
      scale * self.error_weight * parts["error"]
      + scale * self.divergence_weight * parts["divergence"]
      + (parts["near_rec"] + parts["near_fake"]) / 4
      + self.embedding_weight * parts["embedding"]
    )
    return loss, (nets.extra, parts, z)

  def decoder_loss(self, params, extra, batch, context, z):
    """The decoder's loss, given codes z of the images.

    Its gradient passes through the encoder, which has moved before.
    """
    nets = _Nets(self, params, extra, batch["image"].shape, context.axis)
    noise, image = self.noise(batch, context), _unit(batch["image"])
    fake, x_hat = nets.decode(noise[0], z)
    of_rec, of_fake = nets.encode(x_hat, fake)
    drawn = (
      introspective.sampled(of_rec, noise[4]),
      introspective.sampled(of_fake, noise[5]),
    )
    rec_hat, fake_hat = nets.decode(*lax.stop_gradient(drawn))  # constants
    parts = {
      "error": jnp.mean(_error(x_hat, image)),
      "divergence_rec": jnp.mean(introspective.divergence(of_rec)),
      "divergence_fake": jnp.mean(introspective.divergence(of_fake)),
      "error_rec": jnp.mean(_error(rec_hat, lax.stop_gradient(x_hat))),
      "error_fake": jnp.mean(_error(fake_hat, lax.stop_gradient(fake))),
    }
    divergence = parts["divergence_rec"] + parts["divergence_fake"]
    cycle = parts["error_rec"] + parts["error_fake"]
    loss = (
      self.error_weight * (parts["error"] + self.cycle_weight * cycle / 2)
      + self.divergence_weight * divergence / 2
    ) / image.shape[2] ** 2
    return loss, (nets.extra, parts, None)

  def _nearness(self, scale, error, code) -> Float[Array, ""]:
    """Nearness of a code to a standard normal, in [0, 1]."""
    divergence = self.negative_weight * introspective.divergence(code)
    distance = self.error_weight * error + divergence
    return jnp.mean(jnp.exp(-2 * scale * distance))

  def validation_loss(self, state, batch, key):
    """ "error" of held-out images, the mean square, of one draw for all."""
    noise = jax.random.normal(rng.stream(key, "code"), (1, 1, self.latent))
    x_hat = self._reconstructed(state, batch["image"], noise)["x_hat"]
    return {"error": losses.squared_error(x_hat[:, 0], _unit(batch["image"]))}

  def predict(self, states, batch):
    """ "x_hat" of each draw, [b n h w 1] in [0, 1], and "latent", the mean."""
    state = states["train"]
    return self._reconstructed(state, batch["image"], self.test_noise(state))

  def test_noise(self, state: types.TrainState) -> Float[Array, "n 1 z"]:
    """The draws of codes in tests; one of 0 for the mean code."""
    if self.codes == "mean":
      return jnp.zeros((1, 1, self.latent))  # mean + deviation * 0
    shape = (self.draws, 1, self.latent)  # the same for every image
    return jax.random.normal(rng.stream(state.key, "test"), shape)

  def _reconstructed(self, state, image, noise) -> types.Preds:
    """The output of `predict`, with noise [n 1 z]."""
    nets = _Nets(
      self, state.params, state.extra, image.shape, types.Axis(), train=False
    )
    (code,) = nets.encode(_unit(image))
    drawn = nets.decode(*(introspective.sampled(code, one) for one in noise))
    return {"x_hat": jnp.stack(drawn, 1), "latent": code[0]}

  def score(self, preds, batch, fitted):
    """ "anomaly", the mean over members and draws, and each of them."""
    # The stage has one member, on the leading axis.
    nets = jax.tree.map(lambda x: x[0], fitted["perceptual"].params)
    image = _unit(batch["image"])
    # [k b n ...] -> [b k*n ...]: the draws of all members.
    x_hat = jnp.moveaxis(preds["x_hat"], 0, 1)
    x_hat = x_hat.reshape(len(image), -1, *image.shape[1:])
    maps = self.anomaly_map(nets, image, x_hat)
    # As the official evaluation: LPIPS expects [-1, 1], and is shown [0, 1].
    distance = lpips.distance("alex", nets, image, _in_a_row(x_hat))
    draws = types.Scores(
      {"anomaly": jnp.mean(maps, (2, 3))},
      {"anomaly": maps},
      2 * x_hat - 1,
      {"lpips_alex": distance.reshape(x_hat.shape[:2])},
    )
    mean = jax.tree.map(lambda x: jnp.mean(x, 1), draws)
    return mean.replace(draws=draws) if self.codes == "sampled" else mean

  def anomaly_map(
    self,
    nets: Mapping[str, Any],
    image: Float[Array, "b h w 1"],
    x_hat: Float[Array, "b n h w 1"],
  ) -> Float[Array, "b n h w"]:
    """The map of each of an image's reconstructions; all in [0, 1].

    Args:
      nets: the parameters of "perceptual".
      image: what was reconstructed.
      x_hat: n reconstructions.
    """
    count, flat = x_hat.shape[1], _in_a_row(x_hat)

    def saliency(image, x_hat):
      distance = lpips.distance_map(
        self.perceptual, nets, 2 * image - 1, 2 * x_hat - 1
      )
      return smoothing.gaussian(distance, _DEVIATION)

    both = (clahe.equalize(x[..., 0]) for x in (image, flat))
    equal, equal_hat = (x[..., None] for x in both)
    gap = jnp.abs(equal_hat - jnp.repeat(equal, count, 0))[..., 0]
    found = gap * saliency(image, flat) * saliency(equal, equal_hat)
    return found.reshape(x_hat.shape[:-1])

  def _encoder(self, axis: types.Axis) -> introspective.Encoder:
    return introspective.Encoder(self.widths, self.latent, self.projected, axis)

  def _decoder(
    self, sides: tuple[int, int], axis: types.Axis
  ) -> introspective.Decoder:
    return introspective.Decoder(sides, 1, self.widths, self.projected, axis)


class _Nets:
  """Encoder and decoder of a step, and their running statistics.

  Both take several batches at once. With fixed statistics these are one batch
  to the nets; those of batches are of each by itself, in their order.
  """

  def __init__(self, method, params, extra, shape, axis, train=True):
    self.extra = extra
    self._params = params
    self._precision = method.precision
    self._train = train and method.batch_norm == "batch"
    self._made = {
      "encoder": method._encoder(axis),
      "decoder": method._decoder(shape[1:3], axis),
    }

  def encode(
    self, *images: Float[Array, "b h w 1"]
  ) -> list[introspective.Code]:
    """Each batch's codes."""
    return self._pass("encoder", images)

  def decode(self, *codes: Float[Array, "b z"]) -> list[Array]:
    """Each batch's images, [b h w 1] in [0, 1]."""
    return self._pass("decoder", codes)

  def _pass(self, part: str, batches: Sequence[Array]) -> list[Any]:
    if self._train:  # each by its own statistics
      return [self._call(part, batch) for batch in batches]
    out, size = self._call(part, jnp.concatenate(batches)), len(batches[0])
    return [
      jax.tree.map(lambda x, at=at: x[at : at + size], out)
      for at in range(0, size * len(batches), size)
    ]

  def _call(self, part, x):
    params, statistics = self._params[part], self.extra[part]
    given = (self._made[part], {"net": params}, {"net": statistics}, x)
    if not self._train:
      return _net.test(*given, precision=self._precision)
    out, new = _net.train(*given, precision=self._precision)
    self.extra = {**self.extra, part: new["net"]}
    return out


def _unit(image):
  """[-1, 1] -> [0, 1], RA's range."""
  return (image + 1) / 2


def _error(x_hat, x) -> Float[Array, "b"]:
  """The squared error, summed over pixels."""
  return jnp.sum((x_hat - x) ** 2, (1, 2, 3))


def _in_a_row(x_hat):
  """[b n h w c] -> [b*n h w c]."""
  return x_hat.reshape(-1, *x_hat.shape[2:])


def _with_variances(statistics):
  return jax.tree_util.tree_map_with_path(
    lambda path, x: _VARIANCE * x if path[-1].key == "var" else x, statistics
  )
