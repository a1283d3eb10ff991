"""Two non-negative directions of which all points are sparse sums.

The reference asks SPAMS for one second of its online learning, which ends
elsewhere on every call. Here the same objective is minimized to the end.
"""

from jaxtyping import Float64, Int64
import numpy as np
from scipy import optimize

SPARSITY = 0.1
# Directions of hematoxylin and eosin (Ruifrok and Johnston 2001), to start at.
_START = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])


def learn(
  points: Float64[np.ndarray, "3 n"], counts: Int64[np.ndarray, "n"]
) -> Float64[np.ndarray, "2 3"]:
  """The directions D of least mean of |x - D'c|^2 / 2 + 0.1 |c|_1.

  Shorter rows of D only make codes longer, so that rows have the length 1 at
  the minimum: two angles each, from 0 to 90 degrees as nothing is negative. The
  gradient holds the codes fixed, which are the best ones.

  Args:
    points: what is to be written as sums, in columns; not negative.
    counts: how often each point occurs.

  Returns:
    Rows of length 1; the one that is larger in the first number is the first.
  """
  weights = counts / counts.sum()
  squares = weights @ (points**2).sum(0)

  def objective(angles):
    rows, slopes = _rows(angles.reshape(2, 2))
    found = codes(points, rows, SPARSITY)
    weighted = weights * found
    # Sums over points are all that is needed of the differences x - D'c.
    with_points, with_codes = weighted @ points.T, weighted @ found.T
    gradient = with_codes @ rows - with_points
    value = (squares - ((with_points - gradient) * rows).sum()) / 2
    value += SPARSITY * weighted.sum()
    return value, np.einsum("kc,kac->ka", gradient, slopes).ravel()

  found = optimize.minimize(
    objective,
    _angles(_START).ravel(),
    jac=True,
    # Another one would wake all cores for products of a few numbers.
    method="SLSQP",
    bounds=[(0, np.pi / 2)] * 4,
    options={"ftol": 1e-16, "maxiter": 200},
  )
  rows, _ = _rows(found.x.reshape(2, 2))
  return rows if rows[0, 0] >= rows[1, 0] else rows[::-1]


def codes(
  points: Float64[np.ndarray, "3 n"],
  rows: Float64[np.ndarray, "2 3"],
  sparsity: float,
) -> Float64[np.ndarray, "2 n"]:
  """The non-negative codes c of least |x - D'c|^2 / 2 + sparsity |c|_1.

  With two directions they are known in closed form: both, where both come out
  positive, and otherwise the one that gains more, or none.
  """
  (first, across), (_, second) = rows @ rows.T
  one, two = rows @ points - sparsity
  determinant = first * second - across**2
  both = np.zeros((2, points.shape[1]))
  if determinant > 0:  # of equal directions one is enough
    both[0] = (second * one - across * two) / determinant
    both[1] = (first * two - across * one) / determinant
  alone = np.maximum((one / first, two / second), 0)
  gains = alone[0] ** 2 * first >= alone[1] ** 2 * second
  alone[0] *= gains
  alone[1] *= ~gains
  return np.where((both[0] > 0) & (both[1] > 0), both, alone)


def _rows(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Unit vectors [2 3] of angles [2 2], and their slopes [2 2 3]."""
  turn, tilt = angles.T
  across, along = np.cos(turn), np.sin(turn)
  flat, up = np.sin(tilt), np.cos(tilt)
  rows = np.stack([flat * across, flat * along, up], 1)
  by_turn = np.stack([-flat * along, flat * across, 0 * up], 1)
  by_tilt = np.stack([up * across, up * along, -flat], 1)
  return rows, np.stack([by_turn, by_tilt], 1)


def _angles(rows: np.ndarray) -> np.ndarray:
  rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
  turn = np.arctan2(rows[:, 1], rows[:, 0])
  return np.stack([turn, np.arccos(rows[:, 2])], 1)
