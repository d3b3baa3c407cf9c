import pytest
import torch

from mmcore.models.losses import contrastive_loss
from mmcore.objectives import OBJECTIVES
from mmcore.objectives._mixture import Mixture
from tests.tiny import EVERY_OBJECTIVE, TinyCorpus, clip, corpus, fitted, model

SPEC = EVERY_OBJECTIVE["moments"]


def rows(count=12):
    return TinyCorpus([clip(number) for number in range(count)])


def prepared(some):
    learner, made = Mixture([SPEC], some), model().double()
    return made, learner.streams[0].batches(some, made.processor, {}, batch_size=len(some), shuffle=False).at(0)


def moments(made, part):
    """By hand: the vectors of each clip's frames, and of each half of its recording."""
    (clips, there), (bands, heard) = part.inputs["video"], part.inputs["audio"]
    seen, sounds = made.encode("video", clips, there), made.encode("audio", bands, heard)
    found = []
    for row in range(len(clips)):
        length = int(sounds[1][row].sum())
        frames = [seen[0][row, 4 * m : 4 * m + 4] for m in range(2)]
        halves = [sounds[0][row, [t for t in range(length) if 2 * t // length == m]] for m in range(2)]
        found.append([
            tuple(made.project(kind, tokens[None], torch.ones(1, len(tokens), dtype=torch.bool))[0]
                  for kind, tokens in (("video", frames[m]), ("audio", halves[m])))
            for m in range(2)
        ])  # fmt: skip
    return found


def test_the_loss_is_the_mean_of_telling_moments_of_a_clip_and_clips_of_a_moment():
    made, part = prepared(rows(5))
    found = moments(made, part)
    within = []
    for clip_ in found:
        logits = made.scale() * torch.stack([torch.stack([v @ a for _, a in clip_]) for v, _ in clip_])
        for m in range(2):
            within += [logits[m].logsumexp(0) - logits[m, m], logits[:, m].logsumexp(0) - logits[m, m]]
    present, same = torch.ones(5, dtype=torch.bool), part.same("video", "audio")
    between = [
        contrastive_loss(
            torch.stack([clip_[m][0] for clip_ in found]), torch.stack([clip_[m][1] for clip_ in found]), made.scale(),
            same, present,
        )
        for m in range(2)
    ]  # fmt: skip
    expected = (torch.stack(within).mean() + torch.stack(between).mean()) / 2
    value = OBJECTIVES.build(SPEC).loss(made, part)["moments"]
    assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=1e-9)


def test_a_frame_learns_to_find_the_sound_of_its_time(tmp_path):
    """Of unseen clips: among the moments of its own clip, and among those of all that it looks like."""
    train = TinyCorpus([clip(number) for number in range(48)])
    made = model()
    fitted(Mixture([SPEC], train), made, train, tmp_path, steps=60, validate_every=60)
    unseen = TinyCorpus([clip(number) for number in range(48, 60)])
    part = Mixture([SPEC], unseen).streams[0].batches(unseen, made.processor, {}, batch_size=12, shuffle=False).at(0)
    with torch.no_grad():
        found = moments(made, part)
    vectors, sounds = (torch.stack([pair[side] for clip_ in found for pair in clip_]) for side in (0, 1))
    likeness = vectors @ sounds.T
    place = torch.tensor([[number % 2, 1 - number % 2] for number in range(12)]).flatten()
    assert torch.equal(place[likeness.argmax(1)], place)
    own = likeness.unflatten(0, (12, 2)).unflatten(2, (12, 2)).diagonal(dim1=0, dim2=2)
    assert torch.equal(own.argmax(1), torch.tensor([[0], [1]]).expand(2, 12))


def test_silent_parts_and_absent_recordings_count_nowhere():
    some = rows(6)
    made, part = prepared(some)
    bands, heard = part.inputs["audio"]
    # Four steps are one token: the second frame has no sound.
    shorter = heard.clone()
    shorter[2, 4:], shorter[4] = False, False
    part.inputs["audio"] = (bands * shorter[..., None], shorter)
    value = OBJECTIVES.build(SPEC).loss(made, part)["moments"]
    value.backward()
    assert value.isfinite()
    changed = bands.clone()
    changed[4] = 9.0
    part.inputs["audio"] = (changed * shorter[..., None], shorter)
    assert float(OBJECTIVES.build(SPEC).loss(made, part)["moments"].detach()) == float(value.detach())


def test_where_no_row_has_both_it_is_said():
    with pytest.raises(ValueError, match="moments: skipped, no row has video and audio"):
        Mixture([SPEC], corpus(clips=0))
