"""The numbers of the publication: sizes and places in pixels."""

import dataclasses

FACTORS = {"x40": 1, "x20": 2, "x10": 4}  # by which patches are shrunk
BLOCK = 3  # pixels a side of a patch on the overview
MOST = 50  # patches of a slide
NORMAL, TUMOR = "normal", "tumor"  # kinds of patches


@dataclasses.dataclass(frozen=True)
class Recipe:
  """The sizes that patches are chosen and normalized by.

  Attributes:
    level: of the pyramid, on which tissue and tumors are looked for; it has
      1 / 2**level of the slide's size.
    target: the slide whose stains all others get.
    row: of the upper left corner of the target's region.
    column: of the same.
    size: height and width of the region.
  """

  level: int = 8
  target: str = "normal_056"
  row: int = 120832
  column: int = 23808
  size: int = 2816

  @property
  def patch(self) -> int:
    """Height and width of a patch: 768 pixels at level 8."""
    return BLOCK << self.level


PUBLISHED = Recipe()
