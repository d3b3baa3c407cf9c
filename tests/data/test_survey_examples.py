import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from mmcore.data.survey_examples import example, four_frames, outline
from tests.data.modalities.test_audio import tone, wav
from tests.data.modalities.test_video import clip
from tests.data.test_prepare import picture


def sample(**values: Any) -> dict[str, Any]:
    return {"id": "a", "captions": [], **values}


def shown(uri: str | None) -> Image.Image:
    assert uri is not None
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def large() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (800, 600), (200, 0, 0)).save(file, "PNG")
    return file.getvalue()


def test_a_picture_is_shown_small_and_its_size_told() -> None:
    found = example(sample(image=large(), labels={"kind": "dog"}), "train")
    assert shown(found.thumbnail).size == (320, 240)
    assert (found.facts, found.labels, found.coarse) == (["800 × 600"], {"kind": "dog"}, False)
    assert example(sample(image=picture(1)), "train").coarse


def test_a_clip_is_shown_by_four_of_its_frames() -> None:
    found = example(sample(video=clip(frames=4)), "test")
    assert shown(found.thumbnail).size == (13, 9)
    assert found.facts == ["6 × 4, 4 frames, 0.4 s"]
    array = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    assert four_frames(array)[[0, 0, -1, -1], [0, -1, 0, -1], 0].tolist() == [0, 2, 4, 6]
    assert four_frames(array[:1]).shape == (2, 2, 3)


def test_a_sound_is_shown_by_its_peaks() -> None:
    found = example(sample(audio=wav((tone(440) * 32767).astype("<i2").tobytes())), "train")
    assert found.thumbnail is None
    assert len(found.wave) == 72
    assert min(found.wave) > 0.9
    assert found.facts == ["0.5 s, 8 kHz"]
    assert outline(np.array([0, 0.1, -0.2, 0], np.float32), 2) == [0.5, 1.0]
    assert outline(np.zeros(10, np.float32), 2) == [0.0, 0.0]


def test_texts_and_questions_are_collected() -> None:
    qa = [{"question": "What?", "answers": ["yes", "no", "yes"]}, {"question": "Who?", "answers": []}]
    found = example(sample(captions=[{"text": "a", "lang": None}], summary="s", qa=qa), "train")
    assert found.texts == ["a", "s"]
    assert found.questions == ["What? → yes, no", "Who?"]


def test_what_cannot_be_read_says_why() -> None:
    found = example(sample(image=b"broken", audio=b"broken"), "train")
    assert found.thumbnail is None
    assert [problem.split(":")[0] for problem in found.problems] == [
        "the image cannot be read", "the audio is of no known kind"
    ]  # fmt: skip
