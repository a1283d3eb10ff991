"""Estimator with scikit-learn's conventions for outlier detectors.

  detector = medad_jax.Detector(method="patchcore").fit(images)
  detector.predict(others)  # 1 normal, -1 not

X are images as decoded: uint8 or uint16, an array [n h w] or [n h w c], or a
list of images of several sizes.
"""

import numpy as np
from sklearn import base
from sklearn.utils import validation

from medad_jax.engine import model


class Detector(base.OutlierMixin, base.BaseEstimator):
  """A model of normal images that calls others outliers.

  As in scikit-learn, higher scores are more normal: `score_samples` is the
  headline score with its sign changed.

  Args:
    method: a module of `medad_jax.methods`.
    held_out: share of the images that the threshold comes from.
    false_alarms: the largest rate of normal images that are called outliers.
      Where too few are held out to promise it, the threshold is their largest
      score, and `promised_` is False.
    fields: further fields of the configuration by dotted name, such as
      {"data.image_size": 64}; None for none.
    workdir: as for `medad_jax.fit`.
    random_state: the seed of everything that is random, a whole number.

  Attributes:
    model_: what was trained.
    offset_: `decision_function` is `score_samples` minus it.
    promised_: whether the rate of false alarms is.
  """

  def __init__(
    self,
    # Without types, as scikit-learn wants it: values are looked at in `fit`.
    method="patchcore",
    held_out=0.2,
    false_alarms=0.05,
    fields=None,
    workdir=None,
    random_state=0,
  ):
    self.method = method
    self.held_out = held_out
    self.false_alarms = false_alarms
    self.fields = fields
    self.workdir = workdir
    self.random_state = random_state

  def fit(self, X, y=None) -> "Detector":
    """Trains on normal images; labels are not looked at.

    Raises:
      UserError: they are no images, or a parameter is out of its range.
    """
    del y
    fields = {
      "seed": int(self.random_state),
      "evaluation.false_alarms": self.false_alarms,
      **(self.fields or {}),
    }
    self.model_ = model.fit(
      X,
      self.method,
      workdir=self.workdir,
      held_out=self.held_out,
      **fields,
    )
    threshold = self.model_.threshold
    self.promised_ = threshold is not None
    if threshold is None:
      threshold = self.model_.largest_normal
    self.offset_ = -float(threshold)
    return self

  def score_samples(self, X) -> np.ndarray:
    """Scores [n] of images, of the first training; higher is more normal.

    Raises:
      UserError: they are no images.
    """
    validation.check_is_fitted(self)
    scores = self.model_.score(X).scores
    return -list(scores.values())[-1][:, 0].astype(float)

  def decision_function(self, X) -> np.ndarray:
    """Scores [n] of images, below 0 where an image is an outlier.

    Raises:
      UserError: they are no images.
    """
    return self.score_samples(X) - self.offset_

  def predict(self, X) -> np.ndarray:
    """1 for normal images and -1 for outliers, [n].

    Raises:
      UserError: they are no images.
    """
    return np.where(self.decision_function(X) < 0, -1, 1)

  def __sklearn_tags__(self):
    tags = super().__sklearn_tags__()
    # Images, and not rows of features.
    tags.input_tags.two_d_array = False
    tags.input_tags.three_d_array = True
    return tags
