"""Latents on a plane, for figures."""

from jaxtyping import Float
import numpy as np

_LEAST = 4  # fewer points show nothing on a plane


def tsne(latents: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 2"] | None:
  """Coordinates on a plane that keep similar latents together.

  t-SNE (van der Maaten & Hinton, JMLR 2008), from the principal components and
  with the same random numbers at every call.

  Returns:
    The places; None for fewer than four latents, or where all are equal.
  """
  # Seconds to import, which only an evaluation needs.
  from sklearn import decomposition, manifold

  latents = latents.astype(np.float64)
  if len(latents) < _LEAST or not latents.std(0).any():
    return None
  # More components than these take time and hold little but noise.
  size = min(50, *latents.shape)
  parts = decomposition.PCA(size, random_state=0).fit_transform(latents)
  if size < 2:
    parts = np.concatenate([parts, np.zeros_like(parts)], 1)
  start = parts[:, :2] / max(parts[:, 0].std(), 1e-12) * 1e-4
  return manifold.TSNE(
    perplexity=min(30, (len(latents) - 1) / 3),
    init=start.astype(np.float32),
    random_state=0,
    # For some hundred points as fast as trees, and without threads that wait
    # for each other on a busy machine.
    method="exact",
    max_iter=500,
  ).fit_transform(parts)
