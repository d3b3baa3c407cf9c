"""The survey of a source as one page that needs nothing beside it."""

from pathlib import Path

import jinja2

from mmcore.data.survey import SourceSummary

_FOLDER = Path(__file__).parent / "templates"
# Names of the languages that come up most; the code stands for any other.
LANGUAGES = {
    "ar": "Arabic", "de": "German", "en": "English", "es": "Spanish", "fr": "French", "he": "Hebrew", "hi": "Hindi",
    "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "pl": "Polish", "pt": "Portuguese",
    "ru": "Russian", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def preview_page(summary: SourceSummary) -> str:
    """HTML, light and dark, with every picture inside; what comes from the source is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    total = sum(summary.rows.values())
    languages = {LANGUAGES.get(lang, lang) or "not stated": count for lang, count in summary.languages.items()}
    return environment.get_template("survey.html.j2").render(
        summary=summary, total=total, languages=languages, num_refused=sum(summary.refused.values()),
        num_captions=sum(summary.languages.values()),
    )  # fmt: skip


def preview_lines(summary: SourceSummary) -> list[str]:
    """The same in lines for a terminal."""
    lines = ["fields   " + ", ".join(f"{field} → {column}" for field, column in summary.fields.items())]
    lines.append("rows     " + ", ".join(f"{count} {split}" for split, count in summary.rows.items()))
    lines.append("columns  " + ", ".join(f"{name} ({count})" for name, count in summary.columns.items()))
    if summary.languages:
        named = (f"{count} {lang or 'not stated'}" for lang, count in summary.languages.items())
        lines.append("captions " + ", ".join(named))
    if summary.refused:
        lines.append("refused  " + ", ".join(f"{count} {code}" for code, count in summary.refused.items()))
    for task, missing in summary.tasks.items():
        lines.append(f"task     {task}: {missing or 'can be trained'}")
    return lines + [f"doubt    {doubt}" for doubt in summary.doubts]
