"""Maps and losses of tests in PyTorch; images are [b c h w], maps [b h w]."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F

Tensors = Mapping[str, torch.Tensor]

_WINDOW, _DEVIATION = 11, 1.5


def error(
  image: torch.Tensor, x_hat: torch.Tensor, variance: torch.Tensor | None
) -> torch.Tensor:
  """The squared error, over the variance if there is one."""
  found = (image - x_hat) ** 2
  return (found if variance is None else found / variance).mean(1)


def absolute(
  image: torch.Tensor, x_hat: torch.Tensor, variance: torch.Tensor | None
) -> torch.Tensor:
  """The absolute error."""
  del variance
  return (image - x_hat).abs().mean(1)


def dissimilarity(
  image: torch.Tensor, x_hat: torch.Tensor, registered: bool
) -> torch.Tensor:
  """1 - SSIM (Wang et al., IEEE TIP 2004), at the images' size.

  Args:
    image: in [-1, 1].
    x_hat: clipped to [-1, 1].
    registered: whether the map lies on the image, or is stretched to its size.
  """
  u, v = (((x + 1) / 2).clamp(0, 1) for x in (image, x_hat))
  mean_u, mean_v = _window(u), _window(v)
  var_u = _window(u * u) - mean_u**2
  var_v = _window(v * v) - mean_v**2
  covariance = _window(u * v) - mean_u * mean_v
  c1, c2 = 0.01**2, 0.03**2
  light = (2 * mean_u * mean_v + c1) / (mean_u**2 + mean_v**2 + c1)
  found = 1 - light * (2 * covariance + c2) / (var_u + var_v + c2)
  found = found.mean(1, keepdim=True)
  if registered:
    return F.pad(found, (_WINDOW // 2,) * 4, "replicate")[:, 0]
  return F.interpolate(found, image.shape[2:], mode="bilinear")[:, 0]


def input_gradient(
  value: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor
) -> torch.Tensor:
  """The derivative of each image's own value [b] by its pixels."""
  image = image.detach().clone().requires_grad_()
  with torch.enable_grad():
    (found,) = torch.autograd.grad(value(image).sum(), image)
  return found


def discrepancies(
  image: torch.Tensor,
  unknown: torch.Tensor,
  normative: torch.Tensor,
  variance: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
  """DDAD's maps "rec", "intra" and "inter".

  Args:
    image: [b c h w].
    unknown: the UDM's reconstructions, [k b c h w].
    normative: the NDM's.
    variance: the mean that the NDM predicts, or None.
  """
  deviation = 1 if variance is None else variance.sqrt()
  mean = normative.mean(0)
  return {
    "rec": error(image, mean, variance),
    "intra": (normative.std(0) / deviation).mean(1),  # divides by k - 1
    "inter": ((unknown.mean(0) - mean).abs() / deviation).mean(1),
  }


def divergence(mean: torch.Tensor, log_var: torch.Tensor) -> torch.Tensor:
  """The mean over a code's numbers of the divergence from a standard normal."""
  return -0.5 * (1 + log_var - mean**2 - log_var.exp()).mean(1)


def mahalanobis(
  features: torch.Tensor, density: Mapping[str, np.ndarray]
) -> torch.Tensor:
  """The distance [b] of features from a Gaussian's "mean", by "whitening"."""
  mean, whitening = (
    torch.from_numpy(np.array(density[name])).to(features)
    for name in ("mean", "whitening")
  )
  return ((features - mean) @ whitening).norm(dim=1)


def kernel_score(
  features: torch.Tensor, density: Mapping[str, np.ndarray]
) -> torch.Tensor:
  """-ln of the density [b] of Gaussians of deviation 1 at "points"."""
  points = torch.from_numpy(np.array(density["points"])).to(features)
  count, dimensions = points.shape
  squares = torch.cdist(features, points) ** 2
  nearest = torch.logsumexp(-squares / 2, 1)
  constant = np.log(count) + dimensions / 2 * np.log(2 * np.pi)
  return float(constant) - nearest


def _window(x: torch.Tensor) -> torch.Tensor:
  """The mean in each Gaussian window that lies within the image."""
  at = torch.arange(_WINDOW).to(x) - _WINDOW // 2
  taps = torch.exp(-(at**2) / (2 * _DEVIATION**2))
  taps = taps / taps.sum()
  channels = x.shape[1]
  for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
    kernel = taps.reshape(shape).expand(channels, -1, -1, -1)
    x = F.conv2d(x, kernel, groups=channels)
  return x
