import os

import numpy as np
import pytest
from PIL import Image

from corrcore.datasets import folder
from corrcore.datasets.folder import DatasetNotFoundError


def save(path, colour=(10, 200, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 9), colour).save(path)


def test_photos_are_found_at_any_depth_by_name(tmp_path):
    save(tmp_path / "b.png")
    save(tmp_path / "deep" / "er" / "a.JPG")
    (tmp_path / "notes.txt").write_text("no photo")
    found = folder.photos(tmp_path)
    assert [photo.name for photo in found] == ["b.png", "deep/er/a.JPG"]
    np.testing.assert_array_equal(found[0].load(), np.full((9, 12, 3), (10, 200, 30)))


def test_of_a_voc_folder_only_its_photos_are_taken(tmp_path):
    save(tmp_path / "VOC2011" / "JPEGImages" / "1.jpg")
    save(tmp_path / "VOC2011" / "SegmentationClass" / "1.png")
    assert [photo.name for photo in folder.photos(tmp_path / "VOC2011")] == ["1.jpg"]


def test_links_that_lead_outside_and_hidden_files_are_left_out(tmp_path):
    save(tmp_path / "secret" / "x.png")
    save(tmp_path / "photos" / "ok.png")
    save(tmp_path / "photos" / ".thumbnails" / "t.png")
    (tmp_path / "photos" / "link.png").symlink_to(tmp_path / "secret" / "x.png")
    (tmp_path / "photos" / "inner.png").symlink_to(tmp_path / "photos" / "ok.png")
    assert [photo.name for photo in folder.photos(tmp_path / "photos")] == ["inner.png", "ok.png"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"nowhere is no folder; give one that holds photos \(.*\.jpg"):
        folder.photos(tmp_path / "nowhere")


def test_a_folder_without_photos_is_named(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="there is no photo in"):
        folder.photos(tmp_path)


def test_held_out_photos_are_the_same_each_time(tmp_path):
    for number in range(20):
        save(tmp_path / f"{number}.png")
    photos = folder.photos(tmp_path)
    rest, out = folder.hold_out(photos, 5)
    assert len(out) == 5
    assert sorted([*rest, *out], key=lambda photo: photo.name) == photos
    assert folder.hold_out(photos, 5) == (rest, out)


def test_holding_out_all_photos_is_refused(tmp_path):
    save(tmp_path / "1.png")
    with pytest.raises(ValueError, match="photos to hold out must be between 0 and 0"):
        folder.hold_out(folder.photos(tmp_path), 1)


def test_a_photo_is_known_by_its_content(tmp_path):
    for name, colour in (("a", 10), ("b", 10), ("c", 11)):
        Image.new("RGB", (4, 3), (colour, 0, 0)).save(tmp_path / f"{name}.bmp")
    first, second, other = folder.photos(tmp_path)
    before = first.stamp
    assert second.stamp == before  # written at another time
    assert other.stamp != before  # of the same size
    first.path.write_bytes(other.path.read_bytes())
    os.utime(first.path, ns=(1, 1))
    assert first.stamp == other.stamp
