import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mmcore.metrics.ranking import auroc
from mmcore.models.multimodal import MultimodalModel
from mmcore.tasks._spoiling import KINDS
from mmcore.tasks.anomalies import HEAD, Task
from tests.tasks.test_retrieval import EVALUATE
from tests.tiny import PREPARE, corpus, fitted, model

OPTIONS = {"nearest": 3, "most": 8, "false_alarms": 0.25}
CPU = torch.device("cpu")


def rows_of(of):
    """Twelve different samples of this modality."""
    scenes, clips = {"video": (0, 12), "text": (6, 6)}.get(of, (12, 0))
    return corpus(scenes=scenes, clips=clips)


def remembering(of, folder):
    """A task, and a model that remembers eight of its twelve samples."""
    task, made, rows = Task(**OPTIONS, of=of), model(), rows_of(of)
    task.configure(made)
    fitted(task, made, rows, folder, steps=0)
    task.conclude(made, rows, rows, batch_size=5)
    return task, made


@pytest.fixture(params=list(KINDS))
def kept(request, tmp_path):
    """The modality, the task and the model."""
    return request.param, *remembering(request.param, tmp_path)


def encoded(made, of, samples):
    values, mask = KINDS[of].input(made.processor, samples)
    return {of: made.encode(of, values, mask)}


def test_a_clip_is_as_far_as_its_nearest_known_clips_are_on_average(tmp_path):
    _, made = remembering("video", tmp_path)
    head = made.heads[HEAD]
    tokens, mask = encoded(made, "video", [corpus(scenes=0).array("video", index) for index in range(3)])["video"]
    distances = head.neighbours(head.vectors(tokens, mask)).detach()
    for row, distance in zip(tokens.detach(), distances, strict=True):
        frames = row.numpy().reshape(PREPARE.video_frames, -1, row.shape[-1]).mean(1)
        change = np.diff(frames, axis=0).ravel()
        known = head.neighbours.known.numpy()
        cosines = [change @ own / np.linalg.norm(change) / np.linalg.norm(own) for own in known]
        assert float(distance) == pytest.approx(1 - np.mean(sorted(cosines)[-3:]), abs=1e-5)


def test_the_threshold_lets_so_many_false_alarms_be(kept):
    of, task, made = kept
    found = task.predict(made, rows_of(of), batch_size=5, device=CPU)
    assert found.table["prediction"].to_pylist().count("unusual") == found.embeddings["usual"][:, 1].sum() == 3
    assert all(0.5 <= share <= 1 for share in found.table["score"].to_pylist())  # 3 is a quarter of twelve


def test_it_tells_spoiled_samples_and_each_way_by_itself(kept):
    of, task, made = kept
    rows, surest = rows_of(of), {"video": "frozen", "image": "negative", "audio": "noisy", "text": "foreign"}[of]
    found = task.predict(made, rows, batch_size=12, device=CPU)
    scores = task.score(found, rows, settings=EVALUATE, seed=1)
    assert set(scores) == {"auroc", "found", *(f"auroc_{way}" for way in task.ways)}
    usual, spoiled = (found.embeddings[name][:, 0] for name in ("usual", surest))
    expected = 100 * roc_auc_score([0] * 12 + [1] * 12, np.concatenate([usual, spoiled]))
    assert scores[f"auroc_{surest}"].value == pytest.approx(expected)
    assert expected > 90  # like nothing that was seen
    for name in ("value", "baseline"):
        mean = np.mean([getattr(scores[f"auroc_{way}"], name) for way in task.ways])
        assert getattr(scores["auroc"], name) == pytest.approx(mean)
    assert scores["found"].baseline == 25.0


def test_what_is_remembered_is_saved_with_the_model_and_answers_like_any_choice(kept, tmp_path):
    of, _, made = kept
    (tmp_path / "saved").mkdir()
    made.save(tmp_path / "saved")
    again = MultimodalModel.load(tmp_path / "saved")
    assert again.answers_by == HEAD
    asked = encoded(made, of, [KINDS[of].sample(rows_of(of), 0)])
    torch.testing.assert_close(again.answer(HEAD, asked), made.answer(HEAD, asked))
    assert made.answer(HEAD, asked).shape == (1, 2)
    assert made.heads[HEAD].neighbours.known.abs().sum() > 0


def test_what_a_sample_is_spoiled_with_does_not_depend_on_the_size_of_a_batch(kept):
    of, task, made = kept
    one, other = (task.predict(made, rows_of(of), batch_size=size, device=CPU) for size in (3, 7))
    for way in task.ways:
        np.testing.assert_allclose(one.embeddings[way], other.embeddings[way], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("of", KINDS)
def test_one_sample_of_validation_is_too_few(of):
    rows = corpus(scenes=0, clips=1) if of == "video" else corpus(scenes=1, clips=0)
    made, task = model(), Task(**OPTIONS, of=of)
    made.add_heads(task.heads(rows_of(of)))
    with pytest.raises(ValueError, match="two samples or more in the validation split"):
        task.validate(made, rows, batch_size=4)


def test_training_it_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"set its optim\.steps to 0"):
        fitted(Task(**OPTIONS), model(), corpus(scenes=0), tmp_path, steps=1)


@pytest.mark.parametrize("wrong", [{"false_alarms": 0.0}, {"nearest": 0}, {"most": 3}])
def test_numbers_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="choose a share between 0 and 1"):
        Task(**OPTIONS | wrong)


def test_a_modality_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="of is 'smell'; choose one of: video, image, audio, text"):
        Task(**OPTIONS, of="smell")


def test_the_area_is_that_of_sklearn_ties_counted_half():
    random = np.random.default_rng(0)
    lower, higher = random.integers(0, 6, 40), random.integers(2, 9, 30)
    labels = np.repeat([0, 1], [40, 30])
    assert auroc(lower, higher) == pytest.approx(100 * roc_auc_score(labels, np.concatenate([lower, higher])))
