from argparse import Namespace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.commands.data_quarantine import run
from mmcore.quality.decisions import Decision, decide
from mmcore.stages import mark_done
from mmcore.workspace import Workspace, write_json
from tests.quality.samples import image


def quarantined(id: str, verdict: str, *problems: str, sha256: str | None = "h", thumbnail: bytes | None = None):
    return {
        "id": id, "verdict": verdict, "problems": list(problems), "detail": f"about {id}", "split": "train",
        "sha256": sha256, "thumbnail": thumbnail,
    }  # fmt: skip


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    workspace.validated.mkdir(parents=True)
    rows = [
        quarantined("dark", "flag", "too_dark", thumbnail=image(format="JPEG")),
        quarantined("broken", "reject", "undecodable_image"),
        quarantined("gone", "reject", "missing_file", sha256=None),
    ]
    pq.write_table(pa.Table.from_pylist(rows), workspace.validated / "quarantine.parquet")
    pq.write_table(pa.table({"id": ["fine", "dark"], "sha256": ["f", "h"]}), workspace.validated / "profile.parquet")
    return workspace


def listed(work: Workspace, problem: str | None = None, verdict: str | None = None) -> str:
    return run(work, Namespace(doing="list", problem=problem, verdict=verdict))


def decided(work: Workspace) -> str:
    return (work.root / "validation" / "decisions.jsonl").read_text()


def test_rows_are_listed_by_problem_and_by_verdict(work: Workspace) -> None:
    lines = listed(work).splitlines()
    assert lines[0] == "flag      train       dark  too_dark: about dark"
    assert lines[3] == "1 flag, 2 reject"
    assert listed(work, problem="missing_file").startswith("reject    train       gone")
    assert listed(work, verdict="flag").splitlines()[1] == "1 flag"
    assert listed(work, problem="nothing") == "no such row is in quarantine"


def test_a_row_is_shown_with_its_picture(work: Workspace) -> None:
    shown = run(work, Namespace(doing="show", id="dark"))
    assert "problem  too_dark" in shown
    assert "detail   about dark" in shown
    (picture,) = (work.artifacts / "quarantine").iterdir()
    assert f"picture  {picture.relative_to(work.root)}" in shown
    assert picture.read_bytes() == image(format="JPEG")
    assert "picture" not in run(work, Namespace(doing="show", id="broken"))


def test_a_release_is_written_down_and_shown(work: Workspace) -> None:
    said = run(work, Namespace(doing="release", id=["dark"], reason="it is night"))
    assert said == "released 1 row in validation/decisions.jsonl; the next run heeds it: mmcore run"
    assert decided(work) == '{"id": "dark", "decision": "release", "sha256": "h", "reason": "it is night"}\n'
    assert "decided  release: it is night" in run(work, Namespace(doing="show", id="dark"))


def test_any_row_can_be_dropped_and_only_those_in_quarantine_released(work: Workspace) -> None:
    run(work, Namespace(doing="drop", id=["fine", "broken"], reason=""))
    assert [line[8:12] for line in decided(work).splitlines()] == ["brok", "fine"]
    with pytest.raises(LookupError, match="no row 'fine' is in quarantine"):
        run(work, Namespace(doing="release", id=["fine"], reason=""))


def test_what_was_refused_at_import_cannot_be_decided_on(work: Workspace) -> None:
    with pytest.raises(ValueError, match="gone was refused at import"):
        run(work, Namespace(doing="release", id=["dark", "gone"], reason=""))
    assert not (work.root / "validation").exists()
    for doing in ("show", "drop"):
        with pytest.raises(LookupError, match="no row 'x' is in quarantine"):
            run(work, Namespace(doing=doing, id="x" if doing == "show" else ["x"], reason=""))


def test_the_quarantine_of_a_failed_validation_is_looked_at_until_its_output_stands_again(work: Workspace) -> None:
    logs = work.logs("validate")
    rows = [quarantined("late", "reject", "too_small")]
    write_json(logs / "summary.json", {})
    write_json(logs / "status.json", {"state": "failed", "reason": "only 8% of the samples are usable"})
    pq.write_table(pa.Table.from_pylist(rows), logs / "quarantine.parquet")
    assert listed(work).splitlines()[0] == "reject    train       late  too_small: about late"
    mark_done(work, "validate")
    assert listed(work).splitlines()[0] == "flag      train       dark  too_dark: about dark"


@pytest.mark.parametrize("doing", ["drop", "release"])
def test_a_row_that_was_accepted_can_be_decided_on_though_another_of_its_id_was_refused(work, doing: str) -> None:
    rows = [quarantined("twice", "flag", "too_dark"), quarantined("twice", "reject", "missing_file", sha256=None)]
    pq.write_table(pa.Table.from_pylist(rows), work.validated / "quarantine.parquet")
    run(work, Namespace(doing=doing, id=["twice"], reason=""))
    assert '"sha256": "h"' in decided(work)


def test_a_row_that_is_only_in_the_data_can_be_dropped_though_another_of_its_id_was_refused(work) -> None:
    rows = [quarantined("fine", "reject", "missing_file", sha256=None)]
    pq.write_table(pa.Table.from_pylist(rows), work.validated / "quarantine.parquet")
    run(work, Namespace(doing="drop", id=["fine"], reason=""))
    assert '"sha256": "f"' in decided(work)


def test_a_decision_about_other_content_is_shown_as_void(work: Workspace) -> None:
    decide(work.root / "validation" / "decisions.jsonl", [Decision("dark", "release", "before", "it is night")])
    assert "decided  release (void: it was about other content): it is night" in run(
        work, Namespace(doing="show", id="dark")
    )


def test_without_a_validation_there_is_nothing_to_list(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing has been validated here yet"):
        listed(Workspace(tmp_path))
