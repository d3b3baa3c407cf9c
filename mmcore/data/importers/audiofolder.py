"""A folder of recordings, as Hugging Face's audiofolder: see `_mediafolder`."""

from mmcore.data.importers._mediafolder import MediaFolder


class Importer(MediaFolder):
    """Recordings with captions, labels, questions and whatever else their list says."""

    def __init__(self) -> None:
        super().__init__("audio", "recordings")
