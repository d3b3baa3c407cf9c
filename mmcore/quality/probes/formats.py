"""What files are by their first bytes and by their names."""

from pathlib import PurePosixPath

_EXTENSIONS = {
    "JPEG": "jpg jpeg jpe jfif mpo", "PNG": "png apng", "WEBP": "webp", "BMP": "bmp dib", "GIF": "gif",
    "TIFF": "tif tiff", "WAV": "wav wave", "Ogg": "ogg oga ogv opus", "FLAC": "flac", "MP3": "mp3 mpga",
    "MP4 or MOV": "mp4 m4v m4a m4b mov qt 3gp", "Matroska or WebM": "mkv webm mka", "AVI": "avi",
}  # fmt: skip
_FORMAT_OF = {extension: format for format, names in _EXTENSIONS.items() for extension in names.split()}
# Other things that are found under the name of a picture, a sound or a film.
_MAGIC = (
    (b"version https://git-lfs", "a Git LFS pointer: fetch the files with git lfs pull"), (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"), (b"\x1f\x8b", "a gzip archive"), (b"BZh", "a bzip2 archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"), (b"Rar!", "a RAR archive"), (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"), (b"\x80\x04", "a pickle"), (b"\x93NUMPY", "a NumPy array"),
    (b"<!doctype html", "a web page"), (b"<html", "a web page"), (b"<svg", "an SVG drawing"), (b"<?xml", "XML"),
    (b"#!", "a script"), (b"<?php", "a script"), (b"%!PS", "PostScript"), (b"8BPS", "a Photoshop file"),
    (b"\xff\xd8\xff", "a JPEG"), (b"\x89PNG", "a PNG"), (b"GIF8", "a GIF"), (b"II*\0", "a TIFF"), (b"MM\0*", "a TIFF"),
    (b"OggS", "an Ogg file"), (b"fLaC", "a FLAC file"), (b"ID3", "an MP3"), (b"\x1a\x45\xdf\xa3", "a Matroska file"),
    (b"{", "JSON"), (b"[", "JSON"),
)  # fmt: skip
_HIDDEN = (b"PK\x03\x04", b"MZ", b"\x7fELF", b"%PDF", b"Rar!", b"7z\xbc\xaf", b"<?php", b"<script", b"<html", b"#!/")


def looks_like(data: bytes) -> str | None:
    """What a file that could not be read seems to be; None if its first bytes tell nothing."""
    if not data.strip(b"\0"):
        return "nothing but zeros" if data else None
    if data[4:8] == b"ftyp":
        return "a HEIC or AVIF picture" if data[8:12] in (b"heic", b"heix", b"mif1", b"avif") else "an MP4 or MOV"
    if data[:4] == b"RIFF":
        return {b"WAVE": "a WAV", b"AVI ": "an AVI", b"WEBP": "a WebP"}.get(data[8:12])
    start = data[:64].lstrip(b"\xef\xbb\xbf \r\n\t")
    for magic, name in _MAGIC:
        if start.startswith(magic) or (magic[:1] == b"<" and start.lower().startswith(magic)):
            return name
    return None


def fits_name(format: str, file_name: str) -> bool | None:
    """Whether a file of this format may have this name; None where the name promises no format."""
    promised = _FORMAT_OF.get(PurePosixPath(file_name).suffix[1:].lower())
    return None if promised is None or format not in _EXTENSIONS else promised == format


def hides_another(data: bytes, format: str) -> bool:
    """Whether an archive, a program or a script follows where a picture ends."""
    ends = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b"\0;"}.get(format)
    if ends is None or data.endswith(ends):
        return False
    for magic in _HIDDEN:
        place = data.find(ends + magic)
        if place >= 0 and len(data) - place > len(ends) + len(magic) + 16:
            return True
    return False
