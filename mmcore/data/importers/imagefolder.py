"""A folder of pictures, as Hugging Face's imagefolder: see `_mediafolder`."""

from mmcore.data.importers._mediafolder import MediaFolder


class Importer(MediaFolder):
    """Pictures with captions, labels, questions and whatever else their list says."""

    def __init__(self) -> None:
        super().__init__("image", "pictures")
