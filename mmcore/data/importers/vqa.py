"""Questions about pictures, as VQA has them: a questions file, an annotations file with the answers, pictures beside.

`*questions*.json` is `{"questions": [{image_id, question_id, question}]}`, `*annotations*.json` `{"annotations":
[{question_id, answers: [{answer}]}]}`. `*questions*.jsonl` is simpler: a line for each question with `file_name` (or
`image`), `question` and `answer` or `answers`. A picture with all of its questions is one sample.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mmcore.data.importers import SPLIT_FOLDERS, ImportOptions, Refused, Sample
from mmcore.data.importers._fields import Fields, answers_of
from mmcore.data.importers._folders import folder_of, need_folder, regular, split_in
from mmcore.data.importers._grouped import Grouped
from mmcore.data.importers._json_arrays import elements
from mmcore.data.importers._lines import Line, read_lines
from mmcore.data.importers._samples import Section, columns_of, samples

# How the pictures of COCO, and those of others, are called by their number.
_NAMES = ("COCO_{set}_{id:0>12}.jpg", "{id:0>12}.jpg", "{id}.jpg", "{id}.jpeg", "{id}.png", "{id}")
_IMAGE_FIELDS = ("file_name", "image", "image_id")
# A picture, and what is asked about it: question, number, answers.
_Asked = tuple[Any, tuple[Any, Any, list[Any]]]


@dataclass(frozen=True)
class _Questions(Section):
    """A file of questions, the file of their answers, and how its pictures are called."""

    file: Path
    answers: Path | None
    name: str


class Importer:
    """Pictures with questions and answers; of ten answers of ten people, all ten are kept."""

    def read(self, source: Path, options: ImportOptions) -> Iterator[Sample | Refused]:
        """One sample per picture, in the order of their first questions."""
        fields = Fields(options)
        for one in _files(source):
            yield from samples(source, one, _lines(one), fields, options)
        fields.check_all_seen()

    def fields(self, source: Path, options: ImportOptions) -> dict[str, str]:
        """Field -> column, from the first pictures of every file."""
        found: dict[str, str] = {}
        for one in _files(source):
            found |= columns_of(_lines(one), Fields(options))
        return found

    def doubts(self, source: Path) -> list[str]:
        """Files of questions that nobody answered."""
        silent = [one.file.name for one in _files(source) if one.file.suffix == ".json" and one.answers is None]
        return [f"there are no annotations for {', '.join(silent)}: its questions have no answers"] if silent else []


def _files(source: Path) -> list[_Questions]:
    need_folder(source, "the questions and the pictures")
    folders = [source, source / "annotations", source / "questions"]
    folders += [path for path in source.iterdir() if path.name.lower() in SPLIT_FOLDERS and path.is_dir()]
    files = [path for folder in folders for path in folder.glob("*.json*") if path.suffix in (".json", ".jsonl")]
    questions = list(regular(path for path in files if "questions" in path.name.lower()))
    annotations = list(regular(path for path in files if "annotations" in path.name.lower()))
    if not questions:
        raise ValueError(f"{source} holds no *questions*.json or *questions*.jsonl; is vqa its format?")
    return [_described(source, path, annotations) for path in questions]


def _described(source: Path, file: Path, annotations: list[Path]) -> _Questions:
    # v2_OpenEnded_mscoco_train2014_questions.json and v2_mscoco_train2014_annotations.json: the set is their word.
    words = file.stem.replace("questions", "").strip("_-.").split("_")
    subset = words[-1] if words[-1] else file.parent.name
    split = split_in(subset) or split_in(file.parent.name)
    answers = [path for path in annotations if subset in path.stem.split("_") or path.parent == file.parent != source]
    if file.suffix == ".jsonl":
        first = [str(_image_of(line.values)) for line in islice(read_lines(file), 20) if line.values]
    else:
        first = [
            str(one.get("image_id")) for _, one in islice(elements(file, "questions"), 20) if isinstance(one, dict)
        ]
        answers = answers or (annotations if len(annotations) == 1 else [])
    for name in _NAMES:
        called = [name.format(set=subset, id=one) for one in first]
        folder = folder_of(source, subset, first=called, beside=file.parent)
        if any((folder / one).is_file() for one in called if "\0" not in one):
            break
    return _Questions(
        folder, split, file, answers[0] if answers and file.suffix == ".json" else None, _filled(name, subset)
    )


def _filled(name: str, subset: str) -> str:
    return name.replace("{set}", subset.replace("{", "{{").replace("}", "}}"))


def _lines(one: _Questions) -> Iterator[Line]:
    """A line for each picture, with all of its questions."""
    with closing(Grouped()) as asked, closing(Grouped()) as answered:
        if one.answers:
            answered.add(_answers(one.answers))
        refused: list[Line] = []
        read = _json_questions if one.file.suffix == ".json" else _line_questions
        asked.add(read(one.file, refused))
        yield from refused
        for image in asked:
            questions = asked[image]
            pairs = [
                {"question": question, "answers": answers or [text for texts in answered[number] for text in texts]}
                for question, number, answers in questions
            ]
            values: dict[str, Any] = {"file_name": one.name.format(id=image), "qa": pairs}
            if one.file.suffix == ".json":
                values |= {"image_id": image, "question_ids": [number for _, number, _ in questions]}
            yield Line(f"{one.file.name}:{image}", values)


def _json_questions(file: Path, refused: list[Line]) -> Iterator[_Asked]:
    """The questions of a JSON file; what is none goes to `refused`."""
    for number, (_, one) in enumerate(elements(file, "questions")):
        if isinstance(one, dict) and one.get("image_id") is not None:
            yield one["image_id"], (one.get("question"), one.get("question_id"), [])
        else:
            refused.append(Line(f"{file.name}:questions[{number}]", None, "it has no image_id"))


def _line_questions(file: Path, refused: list[Line]) -> Iterator[_Asked]:
    """The questions of a file of lines; what is none goes to `refused`."""
    for line in read_lines(file):
        values = line.values or {}
        image, question = _image_of(values), values.get("question")
        if image is not None and isinstance(question, str):
            yield image, (question, values.get("question_id"), answers_of(values))
        else:
            refused.append(Line(line.place, None, line.reason or "it has no picture and question"))


def _answers(file: Path) -> Iterator[tuple[Any, list[Any]]]:
    """Question id and what was answered, by every person that was asked."""
    for _, one in elements(file, "annotations"):
        if isinstance(one, dict):
            given = one.get("answers") or [one.get("multiple_choice_answer")]
            texts = [answer.get("answer") if isinstance(answer, dict) else answer for answer in given]
            yield one.get("question_id"), [text for text in texts if text is not None]


def _image_of(values: dict[str, Any]) -> Any:
    return next((values[name] for name in _IMAGE_FIELDS if values.get(name) is not None), None)
