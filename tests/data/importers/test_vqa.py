import json
from pathlib import Path

import pytest

from mmcore.data.importers import ImportOptions, Refused, Sample
from mmcore.data.importers.vqa import Importer
from tests.data.importers.test_imagefolder import pictures


def read(source: Path, **options: object) -> tuple[list[Sample], list[Refused]]:
    found = list(Importer().read(source, ImportOptions(**options)))
    return [one for one in found if isinstance(one, dict)], [one for one in found if isinstance(one, Refused)]


def vqa(root: Path, subset: str, name: str) -> Path:
    pictures(root / subset, name.format(7), name.format(25))
    questions = [
        {"image_id": 25, "question": "What is it?", "question_id": 250},
        {"image_id": 7, "question": "How many?", "question_id": 70},
        {"image_id": 25, "question": "Is it red?", "question_id": 251},
    ]
    answers = [
        {"question_id": 251, "image_id": 25, "answers": [{"answer": "yes"}, {"answer": "no"}, {"answer": "yes"}]},
        {"question_id": 250, "image_id": 25, "multiple_choice_answer": "a dog"},
    ]
    (root / f"v2_OpenEnded_mscoco_{subset}_questions.json").write_text(json.dumps({"questions": questions}))
    (root / f"v2_mscoco_{subset}_annotations.json").write_text(json.dumps({"annotations": answers}))
    return root


@pytest.mark.parametrize("name", ["COCO_train2014_{:012d}.jpg", "{:012d}.jpg", "{}.png"])
def test_questions_of_a_picture_come_together_with_every_answer(tmp_path: Path, name: str) -> None:
    samples, refused = read(vqa(tmp_path, "train2014", name))
    assert refused == []
    assert [(one["id"], one["split"]) for one in samples] == [
        (f"train2014/{name.format(25)}", "train"), (f"train2014/{name.format(7)}", "train")
    ]  # fmt: skip
    assert samples[0]["qa"] == [
        {"question": "What is it?", "answers": ["a dog"]}, {"question": "Is it red?", "answers": ["yes", "no", "yes"]}
    ]  # fmt: skip
    assert samples[1]["qa"] == [{"question": "How many?", "answers": []}]
    assert samples[0]["image"] == tmp_path / "train2014" / name.format(25)


def test_each_set_has_its_own_answers(tmp_path: Path) -> None:
    vqa(vqa(tmp_path, "train2014", "{}.png"), "val2014", "{}.png")
    samples, _ = read(tmp_path)
    assert [one["split"] for one in samples] == ["train", "train", "validation", "validation"]
    assert all(one["qa"][0]["answers"] == ["a dog"] for one in samples[::2])


def test_questions_without_answers_are_told(tmp_path: Path) -> None:
    vqa(tmp_path, "test2015", "{}.png")
    (tmp_path / "v2_mscoco_test2015_annotations.json").unlink()
    assert "its questions have no answers" in Importer().doubts(tmp_path)[0]
    assert all(not pair["answers"] for one in read(tmp_path)[0] for pair in one["qa"])


def test_lines_of_questions(tmp_path: Path) -> None:
    pictures(tmp_path / "train", "a.png", "b.png")
    lines = [
        {"image": "a.png", "question": "What?", "answer": "this"},
        {"image": "b.png", "question": "Who?", "answers": ["I", "you"]},
        {"image": "a.png", "question": "Why?"},
        {"image": "../c.png", "question": "Where?"},
        {"question": "Lost?"},
    ]
    (tmp_path / "train" / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "{\n")
    samples, refused = read(tmp_path)
    assert [(one["id"], one["split"], len(one["qa"])) for one in samples] == [
        ("train/a.png", "train", 2), ("train/b.png", "train", 1)
    ]  # fmt: skip
    assert samples[1]["qa"][0]["answers"] == ["I", "you"]
    assert [one.problem for one in refused] == ["bad_manifest_line", "bad_manifest_line", "unsafe_path"]


def test_a_folder_without_questions_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is vqa its format"):
        read(tmp_path)


def test_zero_and_false_are_answers(tmp_path: Path) -> None:
    answers = [{"answer": 0}, {"answer": False}, {"answers": [0, 1.5]}, {"answers": [], "answer": "x"}, {"answer": ""}]
    lines = [{"image": "a.png", "question": "?", **answer} for answer in answers]
    pictures(tmp_path, "a.png")
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (sample,), _ = read(tmp_path)
    assert [pair["answers"] for pair in sample["qa"]] == [["0"], ["False"], ["0", "1.5"], ["x"], []]


def test_a_question_about_no_picture_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "7.png")
    questions = [{"question": "Lost?"}, {"image_id": 7, "question": "What?", "question_id": 1}, "no question"]
    (tmp_path / "questions.json").write_text(json.dumps({"questions": questions}))
    samples, refused = read(tmp_path)
    assert [one["id"] for one in samples] == ["7.png"]
    assert [(one.id, one.problem) for one in refused] == [
        ("questions.json:questions[0]", "bad_manifest_line"), ("questions.json:questions[2]", "bad_manifest_line")
    ]  # fmt: skip
