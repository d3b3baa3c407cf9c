"""A folder of clips, as Hugging Face's videofolder: see `_mediafolder`."""

from mmcore.data.importers._mediafolder import MediaFolder


class Importer(MediaFolder):
    """Clips with captions, labels, questions and whatever else their list says."""

    def __init__(self) -> None:
        super().__init__("video", "clips")
