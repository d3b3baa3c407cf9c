from mmcore.quality.probes.formats import fits_name, hides_another, looks_like
from tests.quality.samples import image, sound


def test_a_name_promises_a_format() -> None:
    assert fits_name("JPEG", "a/b.JPG") is True
    assert fits_name("PNG", "b.jpg") is False
    assert fits_name("PNG", "b.wav") is False
    assert fits_name("MP4 or MOV", "x.m4a") is True
    assert fits_name("PNG", "no extension") is None
    assert fits_name("PNG", "x.dat") is None


def test_what_a_file_seems_to_be() -> None:
    assert looks_like(b"version https://git-lfs.github.com/spec/v1\n").startswith("a Git LFS pointer")
    assert looks_like(b"  <!DOCTYPE HTML><html>") == "a web page"
    assert looks_like(b"<svg xmlns=''/>") == "an SVG drawing"
    assert looks_like(b"\0\0\0\x18ftypheic") == "a HEIC or AVIF picture"
    assert looks_like(bytes(100)) == "nothing but zeros"
    assert looks_like(sound(0.1)) == "a WAV"
    assert looks_like(b"whatever") is None
    assert looks_like(b"") is None


def test_an_archive_behind_a_picture_is_seen() -> None:
    for name in ("JPEG", "PNG", "GIF"):
        data = image(format=name)
        assert not hides_another(data, name)
        assert not hides_another(data + bytes(100), name)
        assert hides_another(data + b"PK\x03\x04" + bytes(100), name)
        assert hides_another(data + 2 * (b"PK\x03\x04" + bytes(100)), name)
        assert hides_another(data + b"<?php system($_GET['x']); ?>", name)
    assert not hides_another(image(format="BMP") + b"PK\x03\x04" + bytes(100), "BMP")
