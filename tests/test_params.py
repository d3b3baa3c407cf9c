"""params.yaml is strict, and changing it keeps its comments."""

import shutil
from pathlib import Path

import pytest

from mmcore import params

ROOT = Path(__file__).parents[1]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml"))


def test_the_file_of_the_project_is_valid(file: Path):
    assert params.load(file).name == "digitworld"


def test_a_misspelt_key_is_named_with_the_nearest_one(file: Path):
    file.write_text(file.read_text().replace("min_rows:", "min_row:", 1))
    with pytest.raises(ValueError, match=r"no key 'validate.min_row'; did you mean 'min_rows'"):
        params.load(file)


def test_a_value_of_the_wrong_kind_is_named(file: Path):
    file.write_text(file.read_text().replace("seed: 1", "seed: one", 1))
    with pytest.raises(ValueError, match=r"seed: .*integer.*'one'"):
        params.load(file)


def test_a_task_without_a_section_is_refused(file: Path):
    with pytest.raises(ValueError, match="task 'flying' has no section under finetune"):
        params.change(file, assignments=["tasks=[flying]"])


def test_a_change_keeps_comments_and_shows_the_difference(file: Path):
    before = file.read_text()
    difference = params.change(file, assignments=["seed=7"])
    assert difference == "-seed: 1\n+seed: 7"
    assert file.read_text() == before.replace("seed: 1", "seed: 7", 1)


def test_a_change_that_is_refused_writes_nothing(file: Path):
    before = file.read_bytes()
    with pytest.raises(ValueError, match="no section 'pretrian'; did you mean 'pretrain'"):
        params.change(file, assignments=["seed=7", "pretrian.optim.steps=3"])
    assert file.read_bytes() == before


def test_every_preset_fits_the_schema(file: Path):
    for preset in sorted((ROOT / "presets").glob("*.yaml")):
        copy = shutil.copy(file, file.with_name(f"{preset.stem}.yaml"))
        assert params.change(Path(copy), presets=[preset])
        assert params.change(Path(copy), presets=[preset]) == ""


def test_an_unknown_preset_lists_the_presets():
    with pytest.raises(LookupError, match=r"no preset 'huge' in presets/; there are: .*nano"):
        params.preset(ROOT, "huge")


def test_a_preset_name_cannot_leave_its_folder():
    with pytest.raises(LookupError):
        params.preset(ROOT, "../params")


def test_a_preset_takes_an_entry_out_of_a_table_with_null(file: Path, tmp_path: Path):
    (tmp_path / "small.yaml").write_text("model: {encoders: {video: null}, decoder: null}\n")
    params.change(file, presets=[tmp_path / "small.yaml"])
    model = params.load(file).model
    assert "video" not in model.encoders
    assert model.decoder is None


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("finetune.captioning.optim.algorithm=Muon", r"finetune.captioning.optim: algorithm is 'Muon'; choose adamw"),
        ("pretrain.optim.chunk=0", r"pretrain.optim: chunk is 0; set it to 1 or more"),
        ("pretrain.augment.mute=5.0", r"pretrain.augment: mute is 5.0; choose a share from 0 to 1"),
        (
            "finetune.retrieval.augment.bands=-3",
            r"finetune.retrieval.augment: .* bands is -3; choose 0",
        ),
    ],
)
def test_a_value_that_means_nothing_is_refused_with_its_place(file: Path, assignment: str, said: str):
    with pytest.raises(ValueError, match=said):
        params.change(file, assignments=[assignment])
