"""DICOM Secondary Capture: an overlay as an image of the study it is from.

PS3.3, A.8.1. Patient and study are those of the source file, so that an archive
shows the overlay beside it; series and image are new.
"""

import datetime
import io
from pathlib import Path

from jaxtyping import UInt8
import numpy as np

import medad_jax

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_COPIED = (
  "SpecificCharacterSet",
  "PatientName",
  "PatientID",
  "IssuerOfPatientID",
  "PatientBirthDate",
  "PatientSex",
  "StudyInstanceUID",
  "StudyID",
  "StudyDate",
  "StudyTime",
  "StudyDescription",
  "AccessionNumber",
  "ReferringPhysicianName",
  "BodyPartExamined",
  "Laterality",
)
# Elements that a study must have, if only without a value.
_EMPTY = (
  "PatientName",
  "PatientID",
  "PatientBirthDate",
  "PatientSex",
  "StudyID",
  "StudyDate",
  "StudyTime",
  "AccessionNumber",
  "ReferringPhysicianName",
  "Laterality",
)
_WARNING = "Research software, not for diagnosis"


def content(
  image: UInt8[np.ndarray, "h w 3"], source: Path, comment: str
) -> bytes:
  """The content of a DICOM file.

  Args:
    image: RGB.
    source: DICOM file that the image was made from.
    comment: what is said of it, in the element ImageComments.
  """
  import pydicom
  from pydicom import uid
  from pydicom.dataset import FileDataset, FileMetaDataset

  # The source's own mistakes are copied without remarks, as it was read.
  pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
  known = pydicom.dcmread(source, force=True, stop_before_pixels=True)
  meta = FileMetaDataset()
  meta.MediaStorageSOPClassUID = uid.UID(_SECONDARY_CAPTURE)
  meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
  origin = str(known.get("SOPInstanceUID") or source.resolve())
  # The same file again gives the same image, which an archive then replaces.
  meta.MediaStorageSOPInstanceUID = uid.generate_uid(
    entropy_srcs=["medad_jax image", origin, comment]
  )
  made = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
  for name in _EMPTY:
    setattr(made, name, "")
  for name in _COPIED:
    if name in known:
      setattr(made, name, known.get(name))
  study = str(known.get("StudyInstanceUID") or "")
  if not study:
    made.StudyInstanceUID = uid.generate_uid(entropy_srcs=["study", origin])
  _describe(made, known, comment)
  made.SeriesInstanceUID = uid.generate_uid(
    entropy_srcs=["medad_jax series", study or origin]
  )
  _fill(made, image)
  buffer = io.BytesIO()
  made.save_as(buffer, enforce_file_format=True)
  return buffer.getvalue()


def _describe(made, known, comment: str) -> None:
  """Adds what kind of image it is, and which one it was made from."""
  from pydicom.dataset import Dataset

  now = datetime.datetime.now()
  made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID
  made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID
  made.Modality, made.ConversionType = "OT", "WSD"  # by a workstation
  made.ImageType = ["DERIVED", "SECONDARY"]
  made.SeriesNumber = made.InstanceNumber = 9000
  made.SeriesDescription = "medad_jax: what exceeds normal images"
  made.ImageComments = f"{comment}. {_WARNING}."
  made.DerivationDescription = f"medad_jax {medad_jax.__version__}"
  made.Manufacturer = "medad_jax"
  made.ContentDate = made.SeriesDate = now.strftime("%Y%m%d")
  made.ContentTime = made.SeriesTime = now.strftime("%H%M%S")
  if known.get("SOPInstanceUID") and known.get("SOPClassUID"):
    origin = Dataset()
    origin.ReferencedSOPClassUID = known.SOPClassUID
    origin.ReferencedSOPInstanceUID = known.SOPInstanceUID
    made.SourceImageSequence = [origin]


def _fill(made, image: np.ndarray) -> None:
  made.Rows, made.Columns = image.shape[:2]
  made.SamplesPerPixel, made.PhotometricInterpretation = 3, "RGB"
  made.PlanarConfiguration = made.PixelRepresentation = 0
  made.BitsAllocated = made.BitsStored = 8
  made.HighBit = 7
  made.BurnedInAnnotation = "NO"
  pixels = image.tobytes()
  made.PixelData = pixels + b"\0" * (len(pixels) % 2)
