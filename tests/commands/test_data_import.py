import argparse
import shlex
import shutil
from pathlib import Path

import pytest

from mmcore import params
from mmcore.commands import data_import
from mmcore.commands.data_words import add_words
from mmcore.data import store
from mmcore.ledger import Ledger
from mmcore.workspace import Workspace
from tests.conftest import ROOT
from tests.data.importers.test_imagefolder import listed, pictures


@pytest.fixture
def project(toy: Path) -> Workspace:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, toy / name)
    for folder in ("train", "dev", "test"):
        line = {"file_name": "a.png", "captions": ["a dog"], "captions_zh": ["狗"], "product": "p1"}
        listed(pictures(toy / "photos" / folder, "a.png"), line, {"file_name": "gone.png"})
    return Workspace(toy)


def bring(workspace: Workspace, *words: str, source: str = "photos") -> list[str]:
    parser = argparse.ArgumentParser()
    add_words(parser)
    arguments = parser.parse_args(["import", str(workspace.root / source), "--format", "imagefolder", *words])
    return data_import.run(workspace, arguments).splitlines()


def test_the_words_used_become_settings_and_the_report_says_what_comes_next(project: Workspace) -> None:
    told = bring(
        project, "--replace", "--name", "shoes", "--map", "captions=captions", "--map", "captions=captions_zh",
        "--lang", "captions=en", "--lang", "captions_zh=zh", "--positives", "product",
    )  # fmt: skip
    assert told == [
        "imported 1 train, 1 validation, 1 test rows; refused 3 missing_file (they go to quarantine)",
        "data.dvc names them now; commit it: git add data.dvc params.yaml dvc.yaml && git commit -m 'Import photos'",
        f"to let every run look there for new rows: mmcore run --set data.source={project.root / 'photos'}",
        "to keep a copy elsewhere: mmcore data push",
        "next: mmcore run --preset photos, which leaves out what data/ has nothing for: summarisation, "
        "questions, sentiment (no row has labels or qa or summary or transcript or video)",
    ]
    settings = params.load(project.params)
    assert (settings.name, settings.data.source, settings.data.format) == ("shoes", None, "imagefolder")
    assert settings.data.fields == {
        "map": {"captions": ["captions", "captions_zh"]}, "lang": {"captions": "en", "captions_zh": "zh"},
        "positives": "product",
    }  # fmt: skip
    assert Ledger(project.root).data_state() == "same"


def test_what_was_passed_over_tried_again_or_guessed_is_said(project: Workspace) -> None:
    told = bring(project, "--replace", "--name", "shoes", "--map", "captions=captions_zh", "--map", "captions=captions")
    assert told[1] == (
        "no language was stated for 3 captions; guessed from their script: none (3 cannot be told); "
        "say it with --lang CODE"
    )
    assert bring(project, "--append", "--only-new")[:2] == [
        "imported 0 train, 0 validation, 0 test rows; refused 3 missing_file (they go to quarantine)",
        "3 rows were passed over: they are in data/ already",
    ]
    params.change(project.params, assignments=['data.fields={"group": "product"}'])
    pictures(project.root / "photos" / "train", "gone.png")
    assert bring(project, "--retry-failed")[0].startswith("imported 1 train, 0 validation, 0 test rows; refused 2 ")
    assert params.load(project.params).data.fields == {"group": "product"}
    assert sum(shard.rows for shard in store.shards(project.data)) == 4
    assert bring(project, "--replace", "--resume")[1] == "0 of them had been imported before the interruption"


def test_what_is_added_changes_neither_where_rows_come_from_nor_how_they_are_read(project: Workspace) -> None:
    bring(project, "--replace", "--name", "shoes", "--map", "captions=captions")
    params.change(project.params, assignments=[f"data.source={project.root / 'photos'}"])
    before = project.params.read_bytes()
    (project.root / "more").mkdir()
    listed(pictures(project.root / "more", "b.png"), {"file_name": "b.png", "text": "a cat", "split": "train"})
    told = bring(project, "--append", "--group", "text", source="more")
    assert not any("data.source" in line for line in told)
    bring(project, "--retry-failed")
    assert project.params.read_bytes() == before


def test_a_source_is_named_as_a_shell_takes_it_and_the_next_step_fits_the_data(project: Workspace) -> None:
    source = project.root / "Ann's photos"
    (project.root / "photos").rename(source)
    params.change(project.params, assignments=["tasks=[retrieval]"])
    told = bring(project, "--replace", "--name", "shoes", source=source.name)
    shown = next(line for line in told if "data.source" in line)
    assert shlex.split(shown.partition(": ")[2]) == ["mmcore", "run", "--set", f"data.source={source}"]
    assert told[-1] == "next: mmcore check"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--map", "captions"], "--map captions: write it as COLUMN=FIELD"),
        (["--lang", "captions="], "--lang captions=: write it as FIELD=CODE"),
        (["--lang", "en", "--lang", "captions_zh=zh"], "give one code for all captions, or FIELD=CODE for each field"),
        (["--lang", "Chinese"], "write a language as its code"),
        ([], "name your data"),
    ],
)
def test_words_that_make_no_sense_are_named(project: Workspace, words: list[str], message: str) -> None:
    before = project.params.read_bytes()
    with pytest.raises(ValueError, match=message):
        bring(project, "--replace", *words, *(["--name", "shoes"] if words else []))
    assert project.params.read_bytes() == before


def test_a_dry_run_shows_and_changes_nothing(project: Workspace) -> None:
    told = bring(project, "--dry-run")
    assert told[-1] == "nothing was changed (--dry-run)"
    assert "file_name → image" in told[0]
    assert not (project.data / "train").exists()
