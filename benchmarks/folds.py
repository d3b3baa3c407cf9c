"""The splits of docs/results.md for data sets that come with others: copies of their files beside a `split` for each.

    python benchmarks/folds.py esc10|fsdd|easy_vqa SOURCE TARGET

SOURCE is the set as published, with a metadata.jsonl in `train/` and `test/`; TARGET a new folder for
`mmcore data import`. The test split is one that no training hears: of ESC-10 fold 5, of the spoken digits a speaker, of
easy-VQA its own; validation is fold 4, another speaker, every tenth picture of training.
"""

import argparse
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SPEAKERS = {"theo": "validation", "yweweler": "test"}  # the last two of six, in the order of the alphabet


def esc10(line: Mapping[str, Any]) -> str:
    return {4: "validation", 5: "test"}.get(line["fold"], "train")


def fsdd(line: Mapping[str, Any]) -> str:
    return SPEAKERS.get(line["speaker"], "train")


def easy_vqa(line: Mapping[str, Any]) -> str:
    if line["folder"] == "test":
        return "test"
    return "validation" if line["image_id"] % 10 == 0 else "train"


SPLITS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {"esc10": esc10, "fsdd": fsdd, "easy_vqa": easy_vqa}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SPLITS)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    arguments.target.mkdir(parents=True)
    lines = []
    for folder in ("train", "test"):
        for text in (arguments.source / folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines():
            line = {**json.loads(text), "folder": folder}
            name = f"{folder}-{line['file_name']}"
            shutil.copyfile(arguments.source / folder / line["file_name"], arguments.target / name)
            lines.append({**line, "file_name": name, "split": SPLITS[arguments.name](line)})
    content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (arguments.target / "metadata.jsonl").write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
