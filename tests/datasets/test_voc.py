import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corrcore import decoding
from corrcore.datasets import voc
from corrcore.datasets.records import DatasetNotFoundError

from .voc_tree import BOX, Tree, annotation, point


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "VOC2011")


def only(dataset, name):
    (found,) = [one for split in dataset.splits.values() for one in split if one.name == name]
    return found


def test_objects_come_by_category_and_split(tree):
    tree.add("2009_1", 2, "cow")
    dataset = voc.load(tree.root)
    assert dataset.categories == ("cat", "cow")
    names = {key: [one.name for one in split] for key, split in dataset.splits.items()}
    assert names == {
        ("cat", "train"): ["2008_1_1", "2008_2_3"],
        ("cat", "val"): ["2009_1_1"],
        ("cow", "val"): ["2009_1_2"],
    }
    assert not dataset.left_out
    assert not dataset.synthetic
    assert {one.category for one in dataset.instances("cow", "val")} == {"cow"}


def test_a_split_without_objects_is_not_there(tree):
    tree.add("2009_1", 2, "cow")
    with pytest.raises(ValueError, match="split of cow in voc2011 must be one of val; got 'train'"):
        voc.load(tree.root).instances("cow", "train")


def test_only_the_categories_asked_for_are_read_in_their_order(tree):
    for category, number in (("cow", 2), ("horse", 3)):
        tree.add("2009_1", number, category)
    assert voc.load(tree.root, ["horse", "cat", "horse"]).categories == ("horse", "cat")


def test_the_box_is_given_by_the_outer_edges_of_its_pixels(tree):
    # Pixels 11 to 40 and 6 to 25, counted from 1.
    assert only(voc.load(tree.root), "2008_1_1").box == (9.5, 4.5, 39.5, 24.5)


def test_a_box_that_fills_the_photo_ends_at_its_edges(tree):
    tree.add("2008_1", 1, box={"xmin": 1, "ymin": 1, "width": 59, "height": 39})
    assert only(voc.load(tree.root), "2008_1_1").box == (-0.5, -0.5, 59.5, 39.5)


def test_a_box_that_leaves_the_photo_is_cut_at_its_edges(tree):
    tree.add("2008_1", 1, box={"xmin": -7, "ymin": 30, "width": 20, "height": 30})
    assert only(voc.load(tree.root), "2008_1_1").box == (-0.5, 28.5, 12.5, 39.5)


def test_keypoints_count_from_0_in_the_middle_of_where_they_were_before_they_were_cut(tree):
    dataset = voc.load(tree.root)
    assert dataset.keypoint_names["cat"] == ("L_Eye", "Nose")
    np.testing.assert_array_equal(only(dataset, "2008_1_1").keypoints, [[17.5, 7.5], [19.5, 9.5]])


def test_keypoints_in_the_first_and_last_pixel_stay_inside_the_photo(tree):
    tree.add("2008_1", 1, points=[point("Nose", 60, 40), point("L_Eye", 0, 0)])
    dataset = voc.load(tree.root)
    np.testing.assert_array_equal(only(dataset, "2008_1_1").keypoints, [[-0.25, -0.25], [59.25, 39.25]])
    assert not dataset.left_out


def test_hidden_and_missing_keypoints_are_nan(tree):
    tree.add("2008_1", 1, points=[point("Nose", "", "", visible=0), point("L_Eye", 18, 8)])
    tree.add("2008_2", 3, points=[point("Nose", 20, 10)])
    dataset = voc.load(tree.root)
    assert only(dataset, "2008_1_1").visible.tolist() == [True, False]
    assert only(dataset, "2008_2_3").visible.tolist() == [False, True]


def test_an_object_without_visible_keypoints_stays(tree):
    tree.add("2008_1", 1, points=[])
    assert only(voc.load(tree.root), "2008_1_1").keypoints.shape == (2, 2)
    assert not only(voc.load(tree.root), "2008_1_1").visible.any()


def test_keypoint_names_go_from_head_to_paws_and_others_follow(tree):
    others = ["Beak", "Claw", "Comb", "Crop", "Fin", "Hump", "Wing"]
    names = [*others[::-1], "R_B_Paw", "TailBase", "R_Eye", "L_Eye"]
    tree.add("2008_1", 1, points=[point(name, 20, 10) for name in names])
    expected = ("L_Eye", "R_Eye", "Nose", "TailBase", "R_B_Paw", *others)
    assert voc.load(tree.root).keypoint_names["cat"] == expected


def test_photos_are_shared_and_decoded_when_loaded(tree):
    tree.add("2008_1", 2)
    train = voc.load(tree.root).instances("cat", "train")
    assert train[0].photo == train[1].photo
    path = tree.root / "JPEGImages" / "2008_1.jpg"
    np.testing.assert_array_equal(train[0].photo.load(), decoding.decode(path))
    path.unlink()
    with pytest.raises(decoding.ImageError, match=r"2008_1\.jpg"):
        train[0].photo.load()


def damaged(tree, text):
    """What is said of the first cat once its file holds that text. The others must stay."""
    path = tree.write("cat/2008_1_1.xml", text)
    dataset = voc.load(tree.root)
    assert [one.name for one in dataset.instances("cat", "train")] == ["2008_2_3"]
    assert list(dataset.left_out) == ["cat/2008_1_1"]
    reason = dataset.left_out["cat/2008_1_1"]
    assert str(path) in reason
    assert "\n" not in reason
    return reason


GOOD = annotation("2008_1", 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no usable XML: no element found"),
        ("<annotation><image>2008_1</image>", "no usable XML: no element found: line 1"),
        ("%PDF-1.4", "no usable XML: "),
        (b"\x00\xff\x00\xff", "no usable XML"),
        (GOOD.replace("utf-8", "klingon"), "no usable XML: unknown encoding"),
        (GOOD.replace("<annotation>", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotation>"), "it has a DOCTYPE"),
        (GOOD.replace("utf-8", "utf-16").replace("<annot", "<!DOCTYPE a><annot").encode("utf-16"), "it has a DOCTYPE"),
        (GOOD + " " * 10**6, "larger than 1 MB"),
        ("<html/>", "begins with <html>; an annotation begins with <annotation>"),
        (GOOD.replace("<category>cat</category>", ""), "has no <category>"),
        (GOOD.replace(">cat<", ">cow<"), "says category 'cow' and lies in the folder of 'cat'; move it or correct it"),
        (GOOD.replace(">2008_1<", ">2008_2<"), "annotates object 1 of image 2008_2; .* rename or correct it"),
        (GOOD.replace(">2008_1<", ">../secret<"), "names the image '../secret'; a name is letters"),
        (GOOD.replace(">2008_1<", ">/etc/passwd<"), "names the image '/etc/passwd'"),
        (GOOD.replace("<visible_bounds", "<other"), "has no visible_bounds"),
        (GOOD.replace('width="29"', ""), "visible_bounds has no attribute 'width'"),
        (GOOD.replace('width="29"', 'width="0"'), "has a box of 0 x 19 px; width and height must be positive"),
        (GOOD.replace('height="19"', 'height="-3"'), "has a box of 29 x -3 px"),
        (GOOD.replace('xmin="11"', 'xmin="nan"'), "'xmin' of visible_bounds must be a finite number; got 'nan'"),
        (GOOD.replace('xmin="11"', 'xmin="900"'), "has its box outside its photo of 60 x 40 px"),
        (GOOD.replace('x="20"', 'x="left"'), "'x' of keypoint 'Nose' must be a finite number; got 'left'"),
        (GOOD.replace('y="10"', 'y="1e999"'), "'y' of keypoint 'Nose' must be a finite number; got '1e999'"),
        (GOOD.replace('y="10"', ""), "keypoint 'Nose' has no attribute 'y'; add it"),
        (GOOD.replace('name="Nose"', ""), "a keypoint has no attribute 'name'"),
        (GOOD.replace('name="Nose"', 'name=" "'), "name of a keypoint must be text that can be shown; got ''"),
        (GOOD.replace('"Nose"', '"No&#x202e;se"'), r"must be text that can be shown; got 'No\\u202ese'"),
        (GOOD.replace('visible="1"', ""), "keypoint 'Nose' has no attribute 'visible'"),
        (GOOD.replace('visible="1"', 'visible="yes"'), "'visible' of keypoint 'Nose' must be 0 or 1; got 'yes'"),
        (GOOD.replace("L_Eye", "Nose"), "has two keypoints 'Nose'; remove one of them"),
    ],
)
def test_a_broken_annotation_is_left_out_with_the_reason(tree, text, words):
    reason = damaged(tree, text)
    assert re.search(words, reason), reason


def test_an_entity_bomb_is_not_expanded(tree):
    entities = "".join(f'<!ENTITY b{n} "{f"&b{n - 1};" * 10}">' for n in range(1, 9))
    bomb = GOOD.replace("<annotation>", f'<!DOCTYPE a [<!ENTITY b0 "boom">{entities}]><annotation>')
    assert "DOCTYPE" in damaged(tree, bomb.replace(">cat<", ">&b8;<"))


def test_a_keypoint_outside_the_photo_is_left_out_alone(tree):
    tree.add("2008_1", 1, points=[point("Nose", 61, 10), point("L_Eye", 18, 8), point("R_Eye", 9, -1)])
    dataset = voc.load(tree.root)
    assert list(dataset.left_out) == ["cat/2008_1_1 Nose", "cat/2008_1_1 R_Eye"]
    assert (
        "2008_1_1.xml: keypoint 'Nose' at (61, 10) is outside its photo of 60 x 40 px"
        in dataset.left_out["cat/2008_1_1 Nose"]
    )
    assert only(dataset, "2008_1_1").visible.tolist() == [True, False, False]


def left_out(tree, key):
    dataset = voc.load(tree.root)
    assert key in dataset.left_out
    assert key.partition("/")[2] not in [one.name for split in dataset.splits.values() for one in split]
    return dataset.left_out[key]


def test_a_missing_photo_leaves_out_its_objects(tree):
    (tree.root / "JPEGImages" / "2008_1.jpg").unlink()
    assert left_out(tree, "cat/2008_1_1").endswith(
        "2008_1.jpg is missing; put the photo there or remove its annotations."
    )


@pytest.mark.parametrize("data", [b"", b"<html>", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00\x00", b"\x89PNG\r\n\x1a\n"])
def test_a_photo_that_is_no_picture_leaves_out_its_objects(tree, data):
    (tree.root / "JPEGImages" / "2008_1.jpg").write_bytes(data)
    assert "2008_1.jpg gives no photo: '2008_1.jpg' " in left_out(tree, "cat/2008_1_1")


def test_a_photo_too_large_to_decode_leaves_out_its_objects(tree):
    tree.photo("2008_1", size=(300, 200))
    assert not voc.load(tree.root, max_pixels=60_000).left_out
    reason = voc.load(tree.root, max_pixels=59_999).left_out["cat/2008_1_1"]
    assert "'2008_1.jpg' is 300 x 200 pixels" in reason
    instance = only(voc.load(tree.root, max_bytes=10**6), "2008_1_1")
    assert instance.photo.max_bytes == 10**6


def test_the_size_is_found_behind_other_segments(tree):
    photo = Image.new("RGB", (90, 30))
    exif = Image.Exif()
    exif[0x010E] = "x" * 30_000
    photo.save(tree.root / "JPEGImages" / "2008_1.jpg", exif=exif, progressive=True, comment=b"\xff\xc0 no frame")
    tree.add("2008_1", 1, points=[point("Nose", 90, 30)])
    np.testing.assert_array_equal(only(voc.load(tree.root), "2008_1_1").keypoints[1], [89.25, 29.25])


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".png", ".webp", ".Jpg"])
def test_photos_of_other_suffixes_are_found(tree, suffix):
    photo = (tree.root / "JPEGImages" / "2008_1.jpg").rename(tree.root / "JPEGImages" / f"2008_1{suffix}")
    Image.new("RGB", (60, 40), (10, 20, 30)).save(photo)
    dataset = voc.load(tree.root)
    assert not dataset.left_out
    assert only(dataset, "2008_1_1").photo.name == f"2008_1{suffix}"
    assert only(dataset, "2008_1_1").photo.load().shape == (40, 60, 3)


def test_the_photo_by_vocs_name_is_taken_before_others(tree):
    Image.new("RGB", (5, 5)).save(tree.root / "JPEGImages" / "2008_1.png")
    assert only(voc.load(tree.root), "2008_1_1").photo.name == "2008_1.jpg"


def test_two_photos_that_could_be_meant_are_named(tree):
    (tree.root / "JPEGImages" / "2008_1.jpg").rename(tree.root / "JPEGImages" / "2008_1.JPG")
    Image.new("RGB", (5, 5)).save(tree.root / "JPEGImages" / "2008_1.png")
    assert "2008_1.JPG and 2008_1.png both could be meant" in left_out(tree, "cat/2008_1_1")


def test_a_photo_in_a_format_that_is_not_read_is_not_called_missing_alone(tree):
    (tree.root / "JPEGImages" / "2008_1.jpg").rename(tree.root / "JPEGImages" / "2008_1.heic")
    assert "2008_1.heic is in no format that is read here; save it as JPEG" in left_out(tree, "cat/2008_1_1")


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_photo_stored_turned_has_the_size_in_which_it_is_shown(tree, orientation):
    stored_turned(tree, "2008_1", orientation)
    tree.add("2008_1", 1, box={"xmin": 1, "ymin": 1, "width": 39, "height": 59}, points=[point("Nose", 10, 58)])
    dataset = voc.load(tree.root)
    instance = only(dataset, "2008_1_1")
    assert instance.photo.load().shape == (60, 40, 3)
    assert instance.box == (-0.5, -0.5, 39.5, 59.5)
    assert instance.visible.sum() == 1
    assert not dataset.left_out


def stored_turned(tree, image, orientation=6):
    """A photo stored as 60 x 40 px and shown as 40 x 60 px."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (60, 40)).save(tree.root / "JPEGImages" / f"{image}.jpg", exif=exif)


def test_annotations_that_fit_a_photo_only_as_it_is_stored_are_named_not_cut(tree):
    stored_turned(tree, "2008_1")
    tree.add("2008_1", 1, box={"xmin": 31, "ymin": 6, "width": 29, "height": 19})
    tree.add("2008_1", 2, box={"xmin": 2, "ymin": 2, "width": 9, "height": 9})  # fits both, but was made with the other
    tree.add("2008_1", 3, "cow", box={"xmin": 2, "ymin": 2, "width": 9, "height": 9}, points=[point("Nose", 55, 3)])
    dataset = voc.load(tree.root)
    assert set(dataset.left_out) == {"cat/2008_1_1", "cat/2008_1_2", "cow/2008_1_3"}
    assert "2008_1_1.xml fits 2008_1.jpg only as it is stored (60 x 40 px)" in dataset.left_out["cat/2008_1_1"]
    assert "EXIF turns it to 40 x 60 px" in dataset.left_out["cat/2008_1_1"]
    assert "fits 2008_1.jpg only as it is stored" in dataset.left_out["cow/2008_1_3"]
    assert "2008_1_1.xml annotates as it is stored" in dataset.left_out["cat/2008_1_2"]


def test_an_annotation_that_fits_neither_frame_is_cut_as_always(tree):
    stored_turned(tree, "2008_1")
    tree.add("2008_1", 1, box={"xmin": 11, "ymin": 6, "width": 100, "height": 100})
    assert only(voc.load(tree.root), "2008_1_1").box == (9.5, 4.5, 39.5, 59.5)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_may_begin_with_a_byte_order_mark(tree, encoding):
    path = tree.root / "ImageSets" / "Main" / "train.txt"
    path.write_bytes(path.read_text().encode(encoding))
    dataset = voc.load(tree.root)
    assert not dataset.left_out
    assert len(dataset.instances("cat", "train")) == 2


def test_lines_of_a_list_that_match_no_photo_are_reported(tree):
    tree.lists(train=["2008_1", "2008_2", "2008_77", "2008_78"])
    dataset = voc.load(tree.root)
    assert list(dataset.left_out) == ["ImageSets/Main/train.txt"]
    assert "train.txt: 2 of 4 images have no photo in JPEGImages, the first is '2008_77'" in only_reason(dataset)


def test_a_list_of_files_instead_of_names_is_the_first_reason(tree):
    tree.lists(train=["2008_1.jpg", "2008_2.jpg"], val=["2009_1.jpg"])
    with pytest.raises(
        DatasetNotFoundError, match=r"2 of 2 images have no photo .*'2008_1\.jpg'; a line is a photo's name without"
    ):
        voc.load(tree.root)


def only_reason(dataset):
    (reason,) = dataset.left_out.values()
    return reason


def test_names_that_are_not_utf_8_are_shown_as_text(tree):
    file = os.fsdecode(b"2008_1_caf\xe9.xml")
    tree.write(f"cat/{file}", annotation("2008_1", 2))
    (tree.root / "keypoints" / os.fsdecode(b"k\xfche")).mkdir()
    (tree.root / "JPEGImages" / os.fsdecode(b"\xff.jpg")).touch()
    dataset = voc.load(tree.root)
    assert list(dataset.left_out) == ["cat/2008_1_caf\\xe9", "k\\xfche"]
    assert all(text.encode() for item in dataset.left_out.items() for text in item)
    with pytest.raises(DatasetNotFoundError, match=r"no folder for 'dog'; there are cat, k\\xfche\.") as error:
        voc.load(tree.root, ["dog"])
    assert str(error.value).encode()


def test_an_annotation_may_end_in_capitals(tree):
    (tree.root / "keypoints/cat/2008_1_1.xml").rename(tree.root / "keypoints/cat/2008_1_1.XML")
    assert only(voc.load(tree.root), "2008_1_1")


def test_paths_are_absolute_at_once(tree, monkeypatch):
    monkeypatch.chdir(tree.root.parent)
    photo = only(voc.load(tree.root.name), "2008_1_1").photo
    monkeypatch.chdir("/")
    assert photo.load().shape == (40, 60, 3)


def test_an_image_in_both_splits_would_be_tested_on_what_was_learnt(tree):
    tree.lists(val=["2009_1", "2008_1"])
    assert "image 2008_1 is in both train.txt and val.txt" in left_out(tree, "cat/2008_1_1")


def test_an_image_in_no_split_is_left_out(tree):
    tree.lists(train=["2008_2"])
    assert "image 2008_1 is in neither train.txt nor val.txt; list it" in left_out(tree, "cat/2008_1_1")


def test_lists_may_have_a_second_word_and_repeat_an_image(tree):
    tree.lists(train=["2008_1 -1", "2008_2  1", "2008_1 1", ""])
    assert len(voc.load(tree.root).instances("cat", "train")) == 2


def test_an_object_of_two_categories_is_taken_once(tree):
    tree.add("2008_1", 1, "cow")
    tree.add("2008_2", 4, "cow")
    dataset = voc.load(tree.root)
    assert [one.name for one in dataset.instances("cow", "train")] == ["2008_2_4"]
    assert "is the same object as" in dataset.left_out["cow/2008_1_1"]


def test_a_category_without_annotations_is_left_out(tree):
    (tree.root / "keypoints" / "cow").mkdir()
    dataset = voc.load(tree.root)
    assert dataset.categories == ("cat",)
    assert dataset.left_out["cow"].endswith("cow holds no annotation; put one XML file per object there, or remove it.")


def test_other_files_and_hidden_ones_are_no_annotations(tree):
    tree.write("cat/readme.txt", "no annotation")
    tree.write("cat/._2008_1_1.xml", b"\x00\x05\x16\x07")
    tree.write(".cache/1.xml", "")
    assert not voc.load(tree.root).left_out


def test_a_folder_named_like_an_annotation_is_left_out(tree):
    (tree.root / "keypoints" / "cat" / "2009_9_1.xml").mkdir()
    assert "2009_9_1.xml is no file; remove it" in left_out(tree, "cat/2009_9_1")


def moved_out(path):
    """Replaces a file or folder by a link to where it now lies, outside."""
    outside = path.parents[path.parts[::-1].index("VOC2011") - 1].parent / f"outside-{path.name}"
    path.rename(outside)
    path.symlink_to(outside)


@pytest.mark.parametrize("path", ["JPEGImages/2008_1.jpg", "keypoints/cat/2008_1_1.xml"])
def test_a_file_that_links_out_of_the_folder_is_left_out(tree, path):
    moved_out(tree.root / path)
    assert f"{Path(path).name} is a link that leads out of" in left_out(tree, "cat/2008_1_1")


def test_a_category_that_links_out_of_the_folder_is_left_out(tree):
    tree.add("2009_1", 2, "cow")
    moved_out(tree.root / "keypoints" / "cat")
    assert "cat is a link that leads out of" in left_out(tree, "cat")


@pytest.mark.parametrize("path", ["JPEGImages", "keypoints", "ImageSets", "ImageSets/Main/val.txt"])
def test_a_layout_that_links_out_of_the_folder_is_refused(tree, path):
    moved_out(tree.root / path)
    with pytest.raises(DatasetNotFoundError, match="is a link that leads out of .*put the files there instead"):
        voc.load(tree.root)


def test_links_inside_the_folder_and_to_the_folder_are_followed(tree, tmp_path):
    (tree.root / "JPEGImages" / "2008_1.jpg").unlink()
    (tree.root / "JPEGImages" / "2008_1.jpg").symlink_to("2008_2.jpg")
    (tmp_path / "link").symlink_to(tree.root)
    assert not voc.load(tmp_path / "link").left_out


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="nowhere is no folder; give the one that holds JPEGImages"):
        voc.load(tmp_path / "nowhere")


def test_what_the_layout_lacks_is_named(tree):
    (tree.root / "keypoints").rename(tree.root / "Annotations")
    (tree.root / "ImageSets" / "Main" / "val.txt").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"keypoints, ImageSets/Main/val\.txt missing; give the folder"):
        voc.load(tree.root)


def test_a_data_set_without_categories_is_refused(tree):
    (tree.root / "keypoints").rename(tree.root / "Annotations")
    (tree.root / "keypoints").mkdir()
    with pytest.raises(DatasetNotFoundError, match="keypoints is empty; put one folder per category"):
        voc.load(tree.root)


def test_an_unknown_category_is_named_with_those_that_are_there(tree):
    with pytest.raises(DatasetNotFoundError, match=r"no folder for 'dog', '\.\.'; there are cat\."):
        voc.load(tree.root, ["cat", "dog", ".."])


def test_no_category_at_all_is_refused(tree):
    with pytest.raises(ValueError, match=r"categories must name at least one; there are cat\."):
        voc.load(tree.root, [])


def test_nothing_usable_raises_with_the_first_reason(tree):
    tree.lists(train=[], val=[])
    with pytest.raises(
        DatasetNotFoundError, match=r"no object of cat .*in neither .*\(3 were left out; cat/2008_1_1 is"
    ):
        voc.load(tree.root)


def test_a_list_of_many_megabytes_is_refused(tree):
    with (tree.root / "ImageSets" / "Main" / "val.txt").open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(DatasetNotFoundError, match=r"val\.txt is larger than 16 MB"):
        voc.load(tree.root)


def test_the_digest_is_the_same_elsewhere_and_in_another_process(tree, tmp_path):
    other = Tree(tmp_path / "other")
    code = f"from corrcore.datasets import voc; print(voc.load({str(other.root)!r}).digest)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == voc.load(tree.root).digest


def move_keypoint(tree):
    tree.add("2008_1", 1, points=[point("Nose", 20, 10), point("L_Eye", 18, 9)])


def hide_keypoint(tree):
    tree.add("2008_1", 1, points=[point("Nose", 20, 10), point("L_Eye", 18, 8, visible=0)])


def rename_keypoint(tree):
    for image, number in (("2008_1", 1), ("2008_2", 3), ("2009_1", 1)):
        tree.add(image, number, points=[point("Nose", 20, 10), point("R_Eye", 18, 8)])


def move_box(tree):
    tree.add("2008_1", 1, box=BOX | {"width": 30})


def add_object(tree):
    tree.add("2008_1", 2)


def break_object(tree):
    tree.write("cat/2008_1_2.xml", "broken")


def move_split(tree):
    tree.lists(train=["2008_1"], val=["2009_1", "2008_2"])


@pytest.mark.parametrize(
    "change", [move_keypoint, hide_keypoint, rename_keypoint, move_box, add_object, break_object, move_split]
)
def test_the_digest_changes_with_any_annotation(tree, change):
    before = voc.load(tree.root).digest
    assert voc.load(tree.root).digest == before
    change(tree)
    assert voc.load(tree.root).digest != before


@pytest.fixture(scope="module")
def real(data_folder):
    return voc.load(data_folder / "VOC2011")


def test_real_data_are_all_read(real):
    counts = {key: len(split) for key, split in real.splits.items()}
    assert counts == {
        ("cat", "train"): 231,
        ("cat", "val"): 228,
        ("cow", "train"): 321,
        ("cow", "val"): 321,
        ("horse", "train"): 374,
        ("horse", "val"): 386,
    }
    assert {len(names) for names in real.keypoint_names.values()} == {16}
    assert len(set(map(tuple, real.keypoint_names.values()))) == 1
    # Nothing but single keypoints.
    assert len(real.left_out) == 8
    assert all(" " in key and "is outside its photo" in reason for key, reason in real.left_out.items())


def test_real_boxes_and_keypoints_fit_their_photos(real):
    split = real.instances("cow", "val")[:60]
    for instance in split:
        height, width, _ = instance.photo.load().shape
        low, high = np.array([-0.5, -0.5]), np.array([width, height]) - 0.5
        assert (np.array(instance.box[:2]) >= low).all()
        assert (np.array(instance.box[2:]) <= high).all()
        shown = instance.keypoints[instance.visible]
        assert ((shown > low) & (shown < high)).all()


def test_real_keypoints_are_as_close_to_the_left_as_to_the_right_edges_of_their_boxes(real):
    # Half a pixel's shift of either would change one of the two to a third.
    left, right = [], []
    for split in real.splits.values():
        for instance in split:
            x = instance.keypoints[instance.visible, 0]
            left.append(x - instance.box[0])
            right.append(instance.box[2] - x)
    near = [np.count_nonzero((gap >= 0) & (gap <= 2)) for gap in (np.concatenate(left), np.concatenate(right))]
    assert min(near) > 40
    assert abs(near[0] - near[1]) < 2 * np.sqrt(sum(near))
