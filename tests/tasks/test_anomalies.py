import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mmcore.metrics.ranking import auroc
from mmcore.models.heads import HEADS
from mmcore.models.multimodal import MultimodalModel
from mmcore.tasks.anomalies import HEAD, WAYS, Task, spoiled
from tests.tasks.test_retrieval import EVALUATE
from tests.tiny import PREPARE, corpus, fitted, model

TASK = Task(nearest=3, most=8, false_alarms=0.25)
CPU = torch.device("cpu")


@pytest.fixture
def made(tmp_path):
    """A model that remembers eight of the twelve clips."""
    made, rows = model(), corpus(scenes=0)
    TASK.configure(made)
    fitted(TASK, made, rows, tmp_path, steps=0)
    TASK.conclude(made, rows, rows, batch_size=5)
    return made


def test_a_clip_is_as_far_as_its_nearest_known_clips_are_on_average(made):
    head = made.heads[HEAD]
    values = torch.stack([torch.as_tensor(corpus(scenes=0).array("video", index)) for index in range(3)])
    tokens = made.encode("video", values, torch.ones(3, dtype=torch.bool))[0].detach()
    for row, distance in zip(tokens, head.distances(head.changes(tokens), head.known), strict=True):
        frames = row.numpy().reshape(PREPARE.video_frames, -1, row.shape[-1]).mean(1)
        change = np.diff(frames, axis=0).ravel()
        cosines = [change @ own / np.linalg.norm(change) / np.linalg.norm(own) for own in head.known.numpy()]
        assert float(distance) == pytest.approx(1 - np.mean(sorted(cosines)[-3:]), abs=1e-5)


def test_the_threshold_lets_so_many_false_alarms_be(made):
    found = TASK.predict(made, corpus(scenes=0), batch_size=5, device=CPU)
    assert found.table["prediction"].to_pylist().count("unusual") == 3  # a quarter of twelve
    shares = found.table["score"].to_pylist()
    assert all(0.5 <= share <= 1 for share in shares)
    assert found.embeddings["usual"][:, 1].sum() == 3


def test_it_tells_spoiled_clips_and_each_way_by_itself(made):
    rows = corpus(scenes=0)
    found = TASK.predict(made, rows, batch_size=12, device=CPU)
    scores = TASK.score(found, rows, settings=EVALUATE, seed=1)
    assert set(scores) == {"auroc", "found", *(f"auroc_{way}" for way in WAYS)}
    usual, cut = (found.embeddings[name][:, 0] for name in ("usual", "cut"))
    expected = 100 * roc_auc_score([0] * 12 + [1] * 12, np.concatenate([usual, cut]))
    assert scores["auroc_cut"].value == pytest.approx(expected)
    assert scores["auroc_frozen"].value > 90  # what stands still changes like nothing that was seen
    assert scores["auroc"].value == pytest.approx(np.mean([scores[f"auroc_{way}"].value for way in WAYS]))
    assert scores["found"].baseline == 25.0


def test_what_is_remembered_is_saved_with_the_model_and_answers_like_any_choice(made, tmp_path):
    made.save(tmp_path)
    again = MultimodalModel.load(tmp_path)
    assert again.answers_by == HEAD
    values = torch.as_tensor(corpus(scenes=0).array("video", 0))[None]
    encoded = {"video": made.encode("video", values, torch.ones(1, dtype=torch.bool))}
    torch.testing.assert_close(again.answer(HEAD, encoded), made.answer(HEAD, encoded))
    assert made.answer(HEAD, encoded).shape == (1, 2)
    assert made.heads[HEAD].known.abs().sum() > 0


def test_clips_are_spoiled_as_is_said():
    clips = torch.randint(0, 255, (3, 6, 4, 4, 3), dtype=torch.uint8)
    others = clips.roll(1, 0)

    def made(way):
        return spoiled(clips, others, way, seeds=[4, 5, 6])

    assert torch.equal(made(""), clips)
    cut = made("cut")
    assert torch.equal(cut[1, :3], clips[1, :3])
    assert torch.equal(cut[1, 3:], clips[0, 3:])
    flash = made("flash")
    assert torch.equal(flash[1, 3], clips[0, 3])
    assert torch.equal(flash[1, 4:], clips[1, 4:])
    assert torch.equal(made("reversed")[2, 0], clips[2, 5])
    assert all(torch.equal(frame, clips[0, 3]) for frame in made("frozen")[0])
    shuffled = made("shuffled")
    assert not torch.equal(shuffled[0], clips[0])
    assert torch.equal(shuffled[0].flatten(1).sum(1).sort().values, clips[0].flatten(1).sum(1).sort().values)


def test_of_two_frames_both_change_places():
    clips = torch.randint(0, 255, (8, 2, 4, 4, 3), dtype=torch.uint8)
    assert torch.equal(spoiled(clips, clips, "shuffled", seeds=range(8)), clips.flip(1))


def test_what_a_clip_is_spoiled_with_does_not_depend_on_the_size_of_a_batch(made):
    rows = corpus(scenes=0, clips=7)
    one, other = (TASK.predict(made, rows, batch_size=size, device=CPU) for size in (3, 7))
    for way in WAYS:
        np.testing.assert_allclose(one.embeddings[way], other.embeddings[way], atol=1e-6)


def test_one_clip_of_validation_is_too_few(made):
    with pytest.raises(ValueError, match="two clips or more in the validation split"):
        TASK.validate(made, corpus(scenes=0, clips=1), batch_size=4)


def test_training_it_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"set its optim\.steps to 0"):
        fitted(TASK, model(), corpus(scenes=0), tmp_path, steps=1)


@pytest.mark.parametrize("wrong", [{"false_alarms": 0.0}, {"nearest": 0}, {"most": 3}])
def test_numbers_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="choose a share between 0 and 1"):
        Task(**{"nearest": 3, "most": 8, "false_alarms": 0.25} | wrong)


def test_the_head_looks_at_clips_only():
    with pytest.raises(ValueError, match="looks at clips, not at image"):
        HEADS.build({"name": "unusual", "inputs": ["image"], "classes": ["a", "b"], "known": 4, "nearest": 2}, width=8,
                    prepare=PREPARE)  # fmt: skip


def test_the_area_is_that_of_sklearn_ties_counted_half():
    random = np.random.default_rng(0)
    lower, higher = random.integers(0, 6, 40), random.integers(2, 9, 30)
    labels = np.repeat([0, 1], [40, 30])
    assert auroc(lower, higher) == pytest.approx(100 * roc_auc_score(labels, np.concatenate([lower, higher])))
