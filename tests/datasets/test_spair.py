import json
import os
import shutil

import numpy as np
import pytest

from corrcore import datasets
from corrcore.datasets import spair
from corrcore.datasets.records import DatasetNotFoundError

from .spair_tree import KPS, Tree, annotation


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "SPair-71k")


def only(dataset, name):
    (found,) = [one for split in dataset.splits.values() for one in split if one.name == name]
    return found


def names(pairs):
    return [pair.name for pair in pairs]


# --- What is read ----------------------------------------------------------------------------------------------------


def test_objects_and_pairs_come_by_category_and_split_in_the_lists_order(tree):
    dataset = datasets.open_dataset(tree.root)
    assert (dataset.name, dataset.categories) == ("spair71k", ("cat", "cow"))
    assert not dataset.left_out
    assert {key: len(split) for key, split in dataset.splits.items()} == {
        ("cat", "test"): 2,
        ("cow", "train"): 2,
        ("cow", "val"): 2,
        ("cow", "test"): 2,
    }
    assert names(dataset.pairs("cow", "train")) == ["000003-2007_1-2008_2", "000007-2008_2-2007_1"]
    assert names(dataset.pairs("cow", "test")) == ["000012-2010_9-2010_10", "000015-2010_10-2010_9"]
    assert names(dataset.pairs("cat", "test")) == ["000002-2011_1-2011_2"]


def test_a_pair_leads_from_the_first_image_to_the_second(tree):
    dataset = spair.load(tree.root)
    pair = dataset.pairs("cow", "test")[0]
    assert (pair.source.name, pair.target.name) == ("2010_9:cow", "2010_10:cow")
    assert (pair.source.photo.name, pair.target.photo.name) == ("2010_9.jpg", "2010_10.jpg")
    assert pair.source is only(dataset, "2010_9:cow")


def test_the_box_counts_from_1_and_is_given_by_the_outer_edges_of_its_pixels(tree):
    assert only(spair.load(tree.root), "2007_1:cow").box == (1.5, 3.5, 49.5, 39.5)


def test_keypoints_count_from_0_by_number_and_null_is_hidden(tree):
    tree.add("2007_1", kps={"0": [10, 12], "1": [0, 0.5], "2": None, "10": None})
    dataset = spair.load(tree.root)
    assert list(dataset.keypoint_names["cow"]) == ["0", "1", "2", "10"]
    np.testing.assert_array_equal(
        only(dataset, "2007_1:cow").keypoints, [[10, 12], [0, 0.5], [np.nan] * 2, [np.nan] * 2]
    )
    assert list(dataset.keypoint_names["cat"]) == ["0", "2", "10"]  # what none shows has no name


def test_a_pair_shares_what_both_show_and_without_any_it_is_left_out(tree):
    tree.add("2010_9", kps={"0": [1, 1], "2": None, "3": [4, 4]})
    dataset = spair.load(tree.root)
    shown = dataset.pairs("cow", "test")[0].shared
    assert [name for name, there in zip(dataset.keypoint_names["cow"], shown, strict=True) if there] == ["0"]
    tree.add("2010_9", kps={"3": [4, 4]})
    dataset = spair.load(tree.root)
    assert not dataset.pairs("cow", "test")
    assert dataset.left_out["Layout/large/test.txt cow"].endswith(
        "test.txt: 2 of 2 pairs of cow cannot be measured, the first is 000012; both photos must be usable and show a "
        "common keypoint."
    )


def test_photos_are_its_own_before_those_of_voc(tmp_path):
    tree = Tree(tmp_path / "SPair-71k", own=True)
    assert not tree.voc.exists()
    photo = only(spair.load(tree.root), "2011_1:cat").photo
    assert photo.path == tree.root / "JPEGImages" / "cat" / "2011_1.jpg"
    assert photo.load().shape == (40, 60, 3)
    tree.voc.mkdir(parents=True)
    shutil.move(photo.path, tree.voc / "2011_1.jpg")
    assert only(spair.load(tree.root), "2011_1:cat").photo.path == tree.voc / "2011_1.jpg"


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.add("2007_1", bndbox=[4, 5, 50, 40]),
        lambda tree: tree.add("2007_1", kps={**KPS, "0": [11, 12]}),
        lambda tree: tree.lists(trn=["000003-2007_1-2008_2:cow"]),
        lambda tree: tree.lists(trn=["000007-2008_2-2007_1:cow", "000003-2007_1-2008_2:cow"]),
        lambda tree: tree.write("2009_2", "{"),
    ],
    ids=["box", "keypoint", "list", "order", "broken"],
)
def test_the_digest_changes_with_any_annotation(tree, change):
    before = spair.load(tree.root).digest
    assert spair.load(tree.root).digest == before
    change(tree)
    assert spair.load(tree.root).digest != before


# --- Faults of one annotation, which is left out ---------------------------------------------------------------------

KEY = "cow/2007_1"
FAULTS = {
    "json": ("{", "2007_1.json is no usable JSON (Expecting property name"),
    "deep": ("[" * 100_000, "2007_1.json is no usable JSON (maximum recursion depth"),
    "array": ("[1]", "2007_1.json holds no JSON object; an annotation has category, bndbox and kps"),
    "large": (b" " * (10**6 + 1), "2007_1.json is larger than 1 MB, so it is no annotation, which has about 1 kB"),
    "category": (
        json.dumps(annotation("dog")),
        "says category 'dog' and lies in the folder of 'cow'; move it or correct it.",
    ),
    "size": ({"image_width": 61}, "is of a photo of 61 x 40 px, and {voc}/2007_1.jpg has 60 x 40 px; put the original"),
    "no size": ({"image_width": None}, "is of a photo of None x 40 px"),
    "no box": ({"bndbox": None}, "bndbox must be xmin, ymin, xmax and ymax; got None, so correct it."),
    "box of words": ({"bndbox": [1, 2, "3", 4]}, "got [1, 2, '3', 4], so correct it."),
    "box of nan": ({"bndbox": [1, 2, float("nan"), 4]}, "got [1, 2, nan, 4], so correct it."),
    "box from 0": ({"bndbox": [0, 2, 30, 30]}, "bndbox must lie in its photo of 60 x 40 px and have an area; got [0,"),
    "box outside": ({"bndbox": [1, 2, 61, 30]}, "bndbox must lie in its photo of 60 x 40 px and have an area"),
    "thin box": ({"bndbox": [5, 2, 5, 30]}, "have an area; got [5, 2, 5, 30], so correct it."),
    "no keypoints": ({"kps": None}, "kps must be keypoints by number; got None, so correct it."),
    "named": ({"kps": {"eye": [1, 1]}}, "kps must be keypoints by number; got {{'eye': [1, 1]}}, so correct it."),
    "lone": ({"kps": {"0": [1]}}, "keypoint 0 must be null or x and y; got [1], so correct it."),
    "huge": ({"kps": {"0": [10**400, 1]}}, "keypoint 0 must be null or x and y; got [1000"),
    "true": ({"kps": {"0": [True, 1]}}, "keypoint 0 must be null or x and y; got [True, 1], so correct it."),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_an_annotation_is_one_sentence_and_leaves_the_rest(tree, fault):
    change, complaint = FAULTS[fault]
    if isinstance(change, dict):
        tree.add("2007_1", **change)
    else:
        tree.write("2007_1", change)
    dataset = spair.load(tree.root)
    assert complaint.format(voc=tree.voc) in dataset.left_out[KEY]
    assert str(tree.root / "ImageAnnotation" / "cow" / "2007_1.json") in dataset.left_out[KEY]
    assert "\n" not in dataset.left_out[KEY]
    assert "Layout/large/trn.txt cow" in dataset.left_out
    assert len(dataset.pairs("cow", "test")) == 2


def test_a_keypoint_outside_its_photo_is_hidden_and_named(tree):
    tree.add("2007_1", kps={**KPS, "2": [60, 3]})
    dataset = spair.load(tree.root)
    assert "keypoint 2 at (60, 3) is outside its photo of 60 x 40 px" in dataset.left_out["cow/2007_1 2"]
    assert only(dataset, "2007_1:cow").visible.tolist() == [True, False, True]


def test_an_image_in_two_splits_or_in_none_is_left_out(tree):
    tree.lists(val=["000001-2009_1-2009_2:cow", "000002-2009_1-2007_1:cow"])
    tree.add("2012_5")
    left_out = spair.load(tree.root).left_out
    assert "pairs with it are in train and val, and would be tested on what was learnt" in left_out[KEY]
    assert "pairs with it are in no list; list its pairs" in left_out["cow/2012_5"]


def test_lines_that_are_no_pairs_are_counted(tree):
    tree.lists(val=["000001-2009_1-2009_2:cow", "2009_1-2009_2:cow", "000002-2009_1-../x:cow"])
    dataset = spair.load(tree.root)
    assert names(dataset.pairs("cow", "val")) == ["000001-2009_1-2009_2"]
    assert "2 of 3 lines are no pairs, the first is '2009_1-2009_2:cow'" in dataset.left_out["Layout/large/val.txt"]


# --- Photos ----------------------------------------------------------------------------------------------------------


def test_a_photo_that_is_missing_is_named_with_where_it_was_looked_for(tree):
    (tree.voc / "2007_1.jpg").unlink()
    assert spair.load(tree.root).left_out[KEY] == (
        f"2007_1.jpg is missing; put it into {tree.voc}, or remove its annotation."
    )


def test_without_any_photos_one_sentence_says_what_to_do(tree):
    shutil.rmtree(tree.voc.parent)
    with pytest.raises(DatasetNotFoundError) as caught:
        spair.load(tree.root)
    assert str(caught.value) == (
        f"{tree.root} has annotations and no photos: neither JPEGImages/<category> in it nor VOC*/JPEGImages beside it "
        "is there; unpack the whole of SPair-71k, or put VOC2011 or VOC2012 beside it."
    )


def test_a_photo_that_is_none_is_named(tree):
    (tree.voc / "2007_1.jpg").write_text("no photo")
    assert f"{tree.voc}/2007_1.jpg gives no photo: " in spair.load(tree.root).left_out[KEY]


def test_a_photo_over_the_limits_is_left_out(tree):
    left_out = spair.load(tree.root, max_pixels=60 * 40).left_out
    assert not left_out
    tree.photo("2007_1", size=(100, 100))
    assert "gives no photo" in spair.load(tree.root, max_pixels=60 * 40).left_out[KEY]


@pytest.mark.parametrize("what", ["photo", "annotation"])
def test_no_file_is_read_through_a_link_that_leads_out(tree, tmp_path, what):
    path = tree.voc / "2007_1.jpg" if what == "photo" else tree.root / "ImageAnnotation" / "cow" / "2007_1.json"
    outside = shutil.move(path, tmp_path / "outside")
    path.symlink_to(outside)
    assert "is a link that leads out of" in spair.load(tree.root).left_out[KEY]


# --- Faults of the whole ---------------------------------------------------------------------------------------------


def test_what_is_not_laid_out_so_is_said(tree, tmp_path):
    (tree.root / "Layout" / "large" / "val.txt").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"as SPair-71k: Layout/large/val\.txt missing; unpack the whole"):
        datasets.open_dataset(tree.root)
    with pytest.raises(DatasetNotFoundError, match="is no folder; give the one that holds ImageAnnotation and Layout"):
        spair.load(tmp_path / "nowhere")
    assert not spair.recognises(tree.voc.parent)


def test_a_list_that_is_too_large_is_refused(tree):
    with (tree.root / "Layout" / "large" / "trn.txt").open("wb") as file:
        file.truncate(16 * 10**6 + 1)
    with pytest.raises(DatasetNotFoundError, match=r"trn\.txt is larger than 16 MB, so it is no list of pairs"):
        spair.load(tree.root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_read_is_said(tree):
    folder = tree.root / "ImageAnnotation" / "cow"
    folder.chmod(0)
    try:
        with pytest.raises(DatasetNotFoundError, match=r"cow cannot be read \(Permission denied\); allow it"):
            spair.load(tree.root)
    finally:
        folder.chmod(0o700)


def test_where_nothing_can_be_used_the_first_reason_is_said(tree):
    for file in (tree.root / "ImageAnnotation").glob("*/*.json"):
        file.write_text("{")
    with pytest.raises(
        DatasetNotFoundError, match=r"can be used: .*no usable JSON .* \(\d+ were left out; cat/2011_1 is the first\)"
    ):
        spair.load(tree.root)


def test_an_empty_category_is_named(tree):
    (tree.root / "ImageAnnotation" / "dog").mkdir()
    assert "dog holds no annotation; put one JSON file per photo there." in spair.load(tree.root).left_out["dog"]


# --- Real data -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(data_folder):
    if not (data_folder / "SPair-71k").is_dir():
        pytest.skip("CORRCORE_DATA holds no SPair-71k")
    return spair.load(data_folder / "SPair-71k")


def test_real_pairs_and_their_points_are_as_many_as_spair_has(real):
    assert not real.left_out
    expected = {("cow", "test"): (640, 5358), ("horse", "test"): (600, 4704), ("cow", "val"): (272, 1666)}
    for key, counts in expected.items():
        pairs = real.pairs(*key)
        assert (len(pairs), sum(int(pair.shared.sum()) for pair in pairs)) == counts


def test_real_lists_are_every_pair_that_shares_a_keypoint(real):
    listed = [(pair.source.name, pair.target.name) for pair in real.pairs("cow", "test")]
    every = [
        (source.name, target.name)
        for source in real.instances("cow", "test")
        for target in real.instances("cow", "test")
        if source is not target and (source.visible & target.visible).any()
    ]
    assert sorted(listed) == sorted(every)
