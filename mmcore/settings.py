"""The schema of params.yaml: what can be set, one class per section, and nothing with a hidden default.

Plain dataclasses, so that training and serving run where pydantic is not installed; `params.py` reads the file
against them. A component is `{"name": ..., option: value}` and is checked against the signature of its constructor
by the registry that knows it.
"""

from dataclasses import dataclass
from typing import Any

STRICT = {"extra": "forbid"}
Component = dict[str, Any]


@dataclass(frozen=True)
class DataSettings:
    """`source`: where every run looks for new rows: a folder, a bucket (`s3://bucket/prefix`), null for nowhere;
    `digitworld` fills an empty data folder with the generated corpus. `format` and `fields` say how it is read, as the
    words of `mmcore data import` do (`fields`: map, lang, lang_field, group, positives).

    `limit`: how many rows of each split are used (the first ones), null for all. `engine`: where work on the shards is
    done: in processes of this machine (`local`), or on the Ray cluster that RAY_ADDRESS names (`ray`). Media that take
    more than `max_decoded_bytes` decoded (null: however much) are decoded while training draws them.
    """

    __pydantic_config__ = STRICT
    source: str | None
    format: str | None
    fields: dict[str, Any]
    limit: int | None
    engine: str
    max_decoded_bytes: int | None


@dataclass(frozen=True)
class ValidateSettings:
    """Limits of the media gate.

    The stage fails if fewer than `min_rows` samples, or less than the share `min_accepted_share` of all, survive.
    Pictures need `min_side` pixels on each side; `max_pixels` (all frames of a clip together) and `max_frames` are
    checked before anything is decoded, and so is how many bytes one byte of a large picture's file unpacks to, at most
    `max_unpacking`. Recordings last at most `max_seconds` and differ from the length that their source states by at
    most the share `duration_tolerance`. Texts longer than `max_characters` are flagged. What else is expected, and
    which of these limits it uses, says validation/suite.json.
    """

    __pydantic_config__ = STRICT
    min_accepted_share: float
    min_rows: int
    min_side: int
    max_pixels: int
    max_seconds: float
    max_frames: int
    max_unpacking: float
    duration_tolerance: float
    max_characters: int


@dataclass(frozen=True)
class PrepareSettings:
    """What decoding leaves: square images of `image_size` pixels (`image_resize`: the length of the short side that a
    picture is resized to before its middle is cut out; null to resize the whole middle square), clips of `video_frames`
    frames of `video_size` pixels, speech as `audio_mels` log-mel bands (null: the samples themselves) of at most
    `audio_seconds`; texts in at most `context` tokens (captions, summaries, questions) or `transcript_context` tokens.

    `tokenizer`: the folder or hub id of a model whose tokenizer is taken; null: one of `vocabulary` tokens, knowing
    small letters only if `lowercase`, is trained on the project's texts.
    """

    __pydantic_config__ = STRICT
    image_size: int
    image_resize: int | None
    video_size: int
    video_frames: int
    audio_rate: int
    audio_mels: int | None
    audio_seconds: float
    tokenizer: str | None
    vocabulary: int
    lowercase: bool
    context: int
    transcript_context: int

    def __post_init__(self) -> None:
        if self.image_resize is not None and self.image_resize < self.image_size:
            raise ValueError(
                f"image_resize is {self.image_resize}, too short to cut image_size {self.image_size} out of; choose "
                f"{self.image_size} or more, or null"
            )


@dataclass(frozen=True)
class ModelSettings:
    """One model: an encoder per modality, a shared embedding space, an optional text decoder and the `fusion` of what
    it looks at (null: tokens side by side)."""

    __pydantic_config__ = STRICT
    width: int
    heads: int
    embed_dim: int
    dropout: float
    encoders: dict[str, Component]
    fusion: Component | None
    decoder: Component | None


@dataclass(frozen=True)
class OptimSettings:
    """One training: `steps` of `batch_size` samples (0: the weights stay as they are), with warm-up and cosine decay to
    zero.

    `algorithm`: how the weights are moved, `muon` or `adamw`; muon learns the same in about half of the steps.
    `max_seconds` stops earlier when set (the result then depends on the machine's speed).
    `ema`: the decay of an average of the weights, which then counts instead of them; null for none. `start_share`: the
    share of the weights that training began with in those that it leaves, below 1; 0 for those that were learned alone.
    `chunk`: how many samples the encoders take at once, null for all of a batch: fewer need less memory and a third
    more time.
    `validate_every`: steps between two evaluations on the validation split; the best one is kept.
    """

    __pydantic_config__ = STRICT
    algorithm: str
    steps: int
    max_seconds: float | None
    batch_size: int
    lr: float
    weight_decay: float
    warmup_steps: int
    clip_norm: float
    ema: float | None
    start_share: float
    chunk: int | None
    validate_every: int

    def __post_init__(self) -> None:
        if self.algorithm not in ("adamw", "muon"):
            raise ValueError(f"algorithm is '{self.algorithm}'; choose adamw or muon")
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk is {self.chunk}; set it to 1 or more samples, or to null")


@dataclass(frozen=True)
class AugmentSettings:
    """How training samples vary. Pictures and clips: moved by up to `shift` pixels; with `flip`, mirrored half of the
    time (not where left and right have a meaning). Recordings: moved by up to so many `bands`, as a higher or lower
    voice would be; of their time and of their bands a stretch of up to the share `mute` silenced."""

    __pydantic_config__ = STRICT
    shift: int
    flip: bool
    bands: int
    mute: float

    def __post_init__(self) -> None:
        if self.shift < 0 or self.bands < 0:
            raise ValueError(f"shift is {self.shift} and bands is {self.bands}; choose 0 or more")
        if not 0 <= self.mute <= 1:
            raise ValueError(f"mute is {self.mute}; choose a share from 0 to 1")


@dataclass(frozen=True)
class PretrainSettings:
    """`init`: scratch, champion (the champion's pretrained model; scratch while there is none), or a saved model: its
    folder, from the project's root, or OWNER/NAME on the hub, with @REVISION for one commit, tag or branch.
    `objectives`: components, each with its `weight` in the sum that is trained, on every which step it runs (`every`)
    and on how many samples (`batch_size`, null for that of `optim`)."""

    __pydantic_config__ = STRICT
    init: str
    objectives: list[Component]
    augment: AugmentSettings
    optim: OptimSettings


@dataclass(frozen=True)
class CompressSettings:
    """How a task's model is made smaller. Before it is fine-tuned: `drop_layers`, how many of the last layers an
    encoder, or the `decoder`, loses; `prune`, the share of its weights that become zero and stay so. After it: `int8`,
    whether weights are held in int8 and linear layers multiply whole numbers."""

    __pydantic_config__ = STRICT
    prune: float
    drop_layers: dict[str, int]
    int8: bool

    def __post_init__(self) -> None:
        if not 0 <= self.prune < 1:
            raise ValueError(f"prune is {self.prune}; choose a share from 0 to below 1")
        for name, count in self.drop_layers.items():
            if count < 1:
                raise ValueError(f"drop_layers takes {count} layers from {name}; choose 1 or more, or leave it out")


@dataclass(frozen=True)
class FinetuneSettings:
    """Fine-tuning for one task. `init`: pretrained, or scratch to measure what pretraining gives. `adapter`: what
    learns, null for all weights. `compress`: how the model is made smaller, null for not at all. `members`: how many
    trainings, each with an order of its own, are averaged in their weights, 1 for one alone. `beside`: objectives that
    are trained in the same steps, each with its `weight` against the task's 1 (multi-task learning)."""

    __pydantic_config__ = STRICT
    init: str
    adapter: Component | None
    compress: CompressSettings | None
    members: int
    task: Component
    beside: list[Component]
    augment: AugmentSettings
    optim: OptimSettings

    @property
    def medium(self) -> str:
        """The medium that the task is about: of retrieval the first that its texts are compared with."""
        if "contrasts" in self.task:
            return next(str(name) for name in self.task["contrasts"][0]["among"] if name != "text")
        return str(self.task.get("of", "video"))


@dataclass(frozen=True)
class TrainSettings:
    """Where and how training runs. `device`: auto (the GPU if there is one), cpu or cuda; `precision`: auto (bf16 on a
    GPU and on a CPU that computes in it, else fp32), fp32 or bf16. `devices`: how many GPUs of this machine, which
    are leased (or processes, on a CPU), train together, on each of `nodes` machines. `shard`: whether each of them
    holds its share of the weights, gradients and optimiser states alone, or all of them."""

    __pydantic_config__ = STRICT
    device: str
    devices: int
    nodes: int
    threads: int
    precision: str
    shard: bool

    def __post_init__(self) -> None:
        if self.shard and self.devices * self.nodes == 1:
            raise ValueError(
                "shard is true, and one device has nobody to share with; set devices to 2 or more, or shard to false"
            )


@dataclass(frozen=True)
class EvaluateSettings:
    """`derangements`: how many seeded re-pairings of inputs and predictions make the shuffled baseline.

    `bleu_tokenize`: 13a, intl, zh, char or none, `rouge_tokenize`: words or characters; `auto` takes what the languages
    of the references ask for. `bleu_lowercase`: whether BLEU takes capitals for small letters. `headline`: up to twelve
    `task.metric` names that `scores.json` shows.
    """

    __pydantic_config__ = STRICT
    batch_size: int
    derangements: int
    bleu_tokenize: str
    bleu_lowercase: bool
    rouge_tokenize: str
    headline: list[str]


@dataclass(frozen=True)
class ReferenceSettings:
    """`rows`: how many test rows production is compared with. `components`: numbers per embedding that are compared.
    `splits`: random halvings of the reference by which the thresholds are calibrated."""

    __pydantic_config__ = STRICT
    rows: int
    components: int
    splits: int


@dataclass(frozen=True)
class GateSettings:
    """`min_over_baseline`: how far every candidate must lie above its baselines, `max_loss`: what it may lose against
    the champion where there is one; both by `task.metric`, in points. `ask`: whether a candidate that passes waits for
    a person to release it, for at most `ask_hours`."""

    __pydantic_config__ = STRICT
    min_over_baseline: dict[str, float]
    max_loss: dict[str, float]
    ask: bool
    ask_hours: float

    def __post_init__(self) -> None:
        if not 0 < self.ask_hours <= 23:
            raise ValueError(
                f"ask_hours is {self.ask_hours}; choose more than 0 and at most 23: the next night's run waits behind "
                "one that waits for a person, and no longer than a day"
            )


@dataclass(frozen=True)
class ReleaseSettings:
    """`golden`: requests per task that the packaged Bento must answer as the offline predictions do."""

    __pydantic_config__ = STRICT
    golden: int


@dataclass(frozen=True)
class ServeSettings:
    """Where and how the champion is served.

    `workers` processes with `threads` threads each; beyond `max_requests` at once the answer is 429, after
    `timeout_seconds` 504. Calls that arrive together are computed in batches of at most `max_batch` items.
    `max_body_bytes` bounds a request, `max_items` its images and texts, `max_pixels`, `max_frames` and `max_seconds`
    (checked before decoding) and `max_characters` each of them.

    A choice whose probability is under `ask_below` (0: none) is kept for a person, with what was sent: at most
    `ask_most` requests, of `ask_bytes` together.
    """

    __pydantic_config__ = STRICT
    host: str
    port: int
    workers: int
    threads: int
    timeout_seconds: float
    max_requests: int
    max_batch: int
    max_body_bytes: int
    max_items: int
    max_pixels: int
    max_frames: int
    max_seconds: float
    max_characters: int
    ask_below: float
    ask_most: int
    ask_bytes: int

    def __post_init__(self) -> None:
        if not 0 <= self.ask_below <= 1:
            raise ValueError(f"ask_below is {self.ask_below}; choose a probability from 0 (keep none) to 1 (keep all)")
        if self.ask_most < 1 or self.ask_bytes < self.max_body_bytes:
            raise ValueError(
                f"ask_most is {self.ask_most} and ask_bytes is {self.ask_bytes}; choose one request or more, and at "
                f"least the {self.max_body_bytes} bytes (max_body_bytes) that one may have"
            )


@dataclass(frozen=True)
class MonitorSettings:
    """`false_alarm_rate`: how often a batch without drift may be called drifted; `min_rows`: fewer give no verdict."""

    __pydantic_config__ = STRICT
    false_alarm_rate: float
    min_rows: int


@dataclass(frozen=True)
class Settings:
    """The whole of params.yaml."""

    __pydantic_config__ = STRICT
    name: str
    seed: int
    tasks: list[str]
    plugins: list[str]
    data: DataSettings
    validate: ValidateSettings
    prepare: PrepareSettings
    model: ModelSettings
    pretrain: PretrainSettings
    finetune: dict[str, FinetuneSettings]
    train: TrainSettings
    evaluate: EvaluateSettings
    reference: ReferenceSettings
    gate: GateSettings
    release: ReleaseSettings
    serve: ServeSettings
    monitor: MonitorSettings
