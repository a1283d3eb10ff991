"""Lists of images: what they say, and what they may not."""

import pytest

from medad_jax.data import manifest
from medad_jax.types import UserError


def read(tmp_path, text, encoding="utf-8"):
  path = tmp_path / "list.csv"
  path.write_bytes(text.encode(encoding))
  return manifest.read(path)


def test_a_list_names_splits_labels_masks_and_columns(tmp_path):
  rows = read(
    tmp_path,
    "file,label,patient,split,mask,Study Site\n"
    "a.png,,7,,,north\n"
    '"b, ü.png",abnormal,8,test,m/b.png,south\n'
    "c.png,1,,unlabelled,,\n",
  )
  first, second, third = rows
  assert (first.split, first.label, first.mask) == ("train", 0, None)
  assert first.texts == {"patient": "7", "study_site": "north"}
  assert second.path == tmp_path / "b, ü.png"
  assert (second.split, second.label) == ("test", 1)
  assert second.mask == tmp_path / "m" / "b.png"
  # Nobody may look at it, whatever the list says.
  assert (third.split, third.label) == ("unlabelled", -1)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_spreadsheets_write_other_separators_and_a_mark(tmp_path, separator):
  text = "file,label\na.png,0\n".replace(",", separator)
  (row,) = read(tmp_path, text, "utf-8-sig")
  assert row.path.name == "a.png"


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("name,label\nx,0\n", "has the columns name, label; .* one of them file"),
    ("file,label\nx,2\n", "line 2: the label '2' .0, 1, normal"),
    ("file,split\nx,valid\n", "line 2: the split 'valid' .train, unl"),
    ("file,label,split\nx,,test\n", "line 2: no label, which test images"),
    ("file,label\nx,1\ny,0\n", r"1 abnormal images in the split train \(x\)"),
    ("file,label\nx,0\nx,0\n", "lists x more than once"),
    ("file,label,split\nx,0,test\n", "no image of the split train"),
    ("file,set\nx,0\n", "columns named 'set'"),
    ("file\n", "lists no files"),
    ("", "has the columns none"),
    ("file,mask\nx.nii.gz,m.png\n", "a mask for a volume"),
  ],
)
def test_a_bad_list_is_one_sentence(tmp_path, text, said):
  with pytest.raises(UserError, match=said):
    read(tmp_path, text)


def test_a_list_in_another_encoding_is_told(tmp_path):
  with pytest.raises(UserError, match="it is not UTF-8"):
    read(tmp_path, "file\nä.png\n", "latin-1")


@pytest.mark.parametrize(
  ("folder", "noticed"),
  [
    ("Tumor", True),
    ("lesions", True),
    ("ungood", True),
    ("no_lesion", False),
    ("Normal", False),
  ],
)
def test_folders_that_are_called_abnormal_are_noticed(
  tmp_path, folder, noticed
):
  (tmp_path / folder).mkdir()
  (tmp_path / folder / "1.png").touch()
  if not noticed:
    assert len(manifest.of_folders(tmp_path, None)) == 1
    return
  with pytest.raises(UserError, match=f"has folders called {folder};"):
    manifest.of_folders(tmp_path, None)
