"""Everything that the settings name, built once before any work: what would fail at night fails here."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from mmcore.data import store
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives import OBJECTIVES
from mmcore.settings import Settings
from mmcore.tasks import TASKS
from mmcore.training.device import choose


def rehearse(data: Path, settings: Settings) -> str:
    """One line on the device and the model. ValueError or LookupError for what cannot be built or has no data."""
    device = choose(settings.train)
    for spec in settings.pretrain.objectives:
        OBJECTIVES.build(spec)
    needs = {task: TASKS.build(settings.finetune[task].task).needs for task in settings.tasks}
    lacking = lacking_columns(data, {column for columns in needs.values() for column in columns})
    problems = [_without(task, settings, sorted(lacking & set(columns))) for task, columns in needs.items()]
    if any(problems):
        raise ValueError("\n".join(filter(None, problems)))
    words = {str(number): number for number in range(settings.prepare.vocabulary)}
    processor = Processor(Tokenizer(WordLevel(vocab=words, unk_token="0")), settings.prepare)
    # In real memory: the meta device would cost four seconds of imports, these models half a second.
    model = MultimodalModel(settings.model, processor)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"{device.name}; a model of {parameters / 1e6:.2f} M parameters over {', '.join(settings.model.encoders)}"


def lacking_columns(data: Path, columns: Iterable[str]) -> set[str]:
    """Those of `columns` that no row of data/ has; a column is read only until the first row that has it."""
    wanted = set(columns)
    for shard in store.shards(data):
        store.check_shard(data / shard.path)
        file = pq.ParquetFile(data / shard.path)
        for group in range(file.num_row_groups):
            if not wanted:
                return wanted
            table = file.read_row_group(group, columns=sorted(wanted))
            wanted -= {name for name in table.column_names if _any_filled(table.column(name))}
    return wanted


def _any_filled(column: pa.ChunkedArray) -> bool:
    if pa.types.is_list(column.type):
        return bool(pc.any(pc.greater(pc.list_value_length(column), 0)).as_py())
    return column.null_count < len(column)  # type: ignore[no-any-return]


def _without(task: str, settings: Settings, lacking: Sequence[str]) -> str:
    if not lacking:
        return ""
    rest = ", ".join(name for name in settings.tasks if name != task)
    return (
        f"task '{task}' needs {' and '.join(lacking)}, and data/ has none; leave it out: "
        f"mmcore run --set 'tasks=[{rest}]'"
    )
