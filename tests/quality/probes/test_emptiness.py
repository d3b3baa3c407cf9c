import pytest

from mmcore.quality.probes.emptiness import repeats_itself, says_nothing


@pytest.mark.parametrize(
    "text",
    [
        "image", "Photo.", "untitled", "N/A", "[null]", "None", "...", "???", "-", "TODO", "lorem ipsum dolor sit amet",
        "IMG_2034", "DSC00123", "IMG_2034.JPG", "a dog.png", "Screenshot 2021-03-04", "https://x.org/a.jpg",
        "www.x.org",        "/home/me/x",
        "C:\\pictures\\x", "a/b/c/d", "me@x.org", "d41d8cd98f00b204e9800998ecf8427e", "2021-03-04",
        "123e4567-e89b-12d3-a456-426614174000", "aGVsbG8gd29ybGQgMTIzNDU2Nzg5", "12345678", "3.14", "图片", "暂无描述",
        "row-17", "some_7", "photos/dogs/1", "photos/dogs/a.b", "IMG_2034-edited", "photo 3",
        "no caption available", "a picture of", "data:image/png;base64,iVBOR",
    ],
)  # fmt: skip
def test_texts_that_describe_nothing(text: str) -> None:
    assert says_nothing(text, "some_7", describes=True, letters=sum(map(str.isalpha, text)))


@pytest.mark.parametrize(
    "text",
    [
        "a dog", "image of a dog", "a photo on a wall", "untitled book on a desk", "7 dogs", "dog no. 3", "狗", "OK",
        "Route 66", "a man with a camera, 35 mm", "3 men.", "the road to nowhere", "B-52", "question mark", "🙂",
        "keycap: 10", "dog", "red_dog", "a 2-year-old", "24/7 shop", "P.S. a dog",
        "Photo 3 dogs", "picture 1 man", "item 4 chairs", "red/green/blue",
    ],
)  # fmt: skip
def test_texts_that_describe_something(text: str) -> None:
    assert not says_nothing(text, "red_dog_3", describes=True, letters=sum(map(str.isalpha, text)))


def test_the_id_of_a_sample_describes_it_only_if_it_is_a_word() -> None:
    assert says_nothing("red_dog", "red_dog", describes=True, letters=6)
    assert not says_nothing("dog", "dog", describes=True, letters=3)


def test_repetition_is_of_words_or_of_letters() -> None:
    assert repeats_itself("no no no no no", unspaced=False)
    assert repeats_itself("the dog dog dog dog is here today", unspaced=False)
    assert repeats_itself("abababababab", unspaced=False)
    assert not repeats_itself("a man and a woman and a child", unspaced=False)
    assert not repeats_itself("一只黑色的狗和一只白色的狗", unspaced=True)
