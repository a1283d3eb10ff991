"""Relative perceptual distance: images compared by a classifier's features.

Shvetsova et al., "Anomaly Detection in Medical Imaging with Deep Perceptual
Autoencoders", IEEE Access 2021; in MedIAnomaly on VGG19's relu4_2. Where the
net's weights come from is the caller's business. The statistics of its features
on ImageNet are published with DPA and come with this package.
"""

from collections.abc import Mapping
import functools
from pathlib import Path
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

Layer = Literal["relu1_2", "relu2_2", "relu3_2", "relu4_2"]
LAYERS: tuple[Layer, ...] = get_args(Layer)

# Of ImageNet's pixels in [0, 1], as torchvision's nets expect them.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


@functools.cache
def statistics(layer: Layer) -> Mapping[str, Float[np.ndarray, "c"]]:
  """ "mean" and "scale" of the channels of one of VGG19's layers on ImageNet.

  From ninatu/anomaly_detection, whose file calls the scales variances. They are
  standard deviations (`vgg19_statistics.txt` has the license).
  """
  path = Path(__file__).with_name("vgg19_statistics.npz")
  with np.load(path) as stored:
    return {name: stored[f"{layer}/{name}"] for name in ("mean", "scale")}


def preprocess(image: Float[Array, "b h w c"]) -> Float[Array, "b h w 3"]:
  """The input of a net trained on ImageNet, from values in [-1, 1].

  Gray becomes three equal channels. Nothing is clipped: a reconstruction may
  leave [-1, 1].

  Raises:
    ValueError: the image has neither one nor three channels.
  """
  channels = image.shape[-1]
  if channels not in (1, 3):
    raise ValueError(f"an image of {channels} channels is neither gray nor RGB")
  image = jnp.broadcast_to(image, (*image.shape[:-1], 3))
  mean, std = (jnp.asarray(values, image.dtype) for values in (_MEAN, _STD))
  return (0.5 * image + 0.5 - mean) / std


def relative_l1(
  features: Float[Array, "b h w c"],
  features_hat: Float[Array, "b h w c"],
  mean: Float[Array | np.ndarray, "c"],
  scale: Float[Array | np.ndarray, "c"],
) -> Float[Array, "b h w"]:
  """Distance of a reconstruction's features; its mean [b] is the loss.

  With f' = (f - mean) / scale it is |f'(x) - f'(x_hat)|, divided by the mean of
  |f'(x)| over the image. The divisor is a constant to the gradient, and the
  mean over channels is taken.

  Args:
    features: of the images.
    features_hat: of their reconstructions.
    mean: what is subtracted from each channel.
    scale: what each channel is divided by, as it is: the reference's file calls
      it a variance, but it holds standard deviations.
  """
  features = (features - mean) / scale
  features_hat = (features_hat - mean) / scale
  size = jax.lax.stop_gradient(
    jnp.mean(jnp.abs(features), axis=(1, 2, 3), keepdims=True)
  )
  return jnp.mean(jnp.abs(features - features_hat) / size, axis=-1)


def upsample(
  distance: Float[Array, "b y x"], sides: tuple[int, int]
) -> Float[Array, "b h w"]:
  """A map of `sides`, bilinear between the centers of the features' pixels.

  By a whole factor it keeps the mean.
  """
  shape = (distance.shape[0], *sides)
  return jax.image.resize(distance, shape, "bilinear")
