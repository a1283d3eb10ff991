"""The nets of GANomaly (Akcay et al., ACCV 2018, arXiv 1805.06725)."""

from flax import linen as nn
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import autoencoder, blocks


class Generator(nn.Module):
  """Encodes, decodes and encodes again, with an encoder of its own.

  Attributes:
    width: channels of the first layer.
    latent: length of the code.
    hidden: width of the dense layers around the code.
    down_depth: convolutions a level of the encoders.
    up_depth: convolutions a level of the decoder.
    axis: where the batch is split over devices.
  """

  width: int = 16
  latent: int = 16
  hidden: int = 1024
  down_depth: int = 1
  up_depth: int = 1
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"], train: bool
  ) -> dict[str, Array]:
    """ "x_hat" [b h w c], "latent" and "latent_hat" [b z]; all unbounded."""

    def encoder(name):
      return autoencoder.Encoder(
        self.width,
        self.latent,
        self.hidden,
        self.down_depth,
        "plain",
        self.axis,
        name=name,
      )

    code = encoder("encoder")(image, train)
    x_hat = autoencoder.Decoder(
      self.width,
      self.hidden,
      image.shape[1:3],
      image.shape[-1],
      self.up_depth,
      "plain",
      self.axis,
      name="decoder",
    )(code, train)
    again = encoder("second_encoder")(x_hat, train)
    return {"x_hat": x_hat, "latent": code, "latent_hat": again}


class Discriminator(nn.Module):
  """Tells images from reconstructions.

  Attributes:
    width: channels of the first layer.
    hidden: length of the features.
    depth: convolutions a level.
    axis: where the batch is split over devices.
  """

  width: int = 16
  hidden: int = 1024
  depth: int = 1
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"], train: bool
  ) -> tuple[Float[Array, "b 1"], Float[Array, "b m"]]:
    """The logit of being an image, and the features before it."""
    features = nn.relu(
      autoencoder.Encoder(
        self.width,
        self.hidden,
        depth=self.depth,
        bottleneck="none",
        axis=self.axis,
        name="encoder",
      )(image, train)
    )
    return blocks.Dense(1)(features), features
