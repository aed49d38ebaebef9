"""The generated parts of the pages: keys of a study file, options of streams, and metrics.

A page has a comment such as ``<!-- generated: metrics -->``. When the site is built, the text of
the function with that name in `PARTS` takes its place, so that a new key or metric is documented by
its docstring alone.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from analysis.metrics import METRICS, PRIMARY, SECONDARY, Metric
from study import spec
from trainables import STREAMS, find_stream

if TYPE_CHECKING:
    from sphinx.application import Sphinx

Schema = Mapping[str, Any]

# the remark in brackets is for readers of the source, who see no table
PLACE = re.compile(r"<!-- generated: (\w+) -->\n\(.*\)")
NAMES = {"methods": "NAME", "space": "OPTION", "published": "METHOD"}  # of tables in tables
WORDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true, false"}
SET_BY_THE_PROGRAM = {"contents"}  # options of streams that no study file may have


def setup(app: Sphinx) -> dict[str, bool]:
    """Register this file as an extension of Sphinx."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True}


def _fill(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = PLACE.sub(lambda found: PARTS[found[1]](), source[0])


# -- keys of a study file


def keys() -> str:
    """Return a section for each table of a study file, with a row for each of its keys."""
    schema = spec.Spec.model_json_schema()
    help_of = docstrings()
    parts = []
    for model, places in tables(schema).items():
        text = code_marks(schema["$defs"][model]["description"])
        parts += [f"### {' and '.join(places)}", text]
        parts.append(_key_table(schema["$defs"][model], help_of[model]))
    return "\n\n".join(parts)


def tables(schema: Schema) -> dict[str, list[str]]:
    """Return where each table stands in a study file, by the name of its model.

    >>> tables(spec.Spec.model_json_schema())["StudySection"]
    ['`[study]`']
    """
    found: dict[str, list[str]] = {}
    for place, model in _places(schema, schema, ""):
        found.setdefault(model, []).append(f"`[{place}]`")
    return found


def _places(whole: Schema, table: Schema, path: str) -> Iterator[tuple[str, str]]:
    """Yield the place and the model of every table inside a table, in the order of a file."""
    for key, value in table["properties"].items():
        for place, model in _models(value, f"{path}.{key}".lstrip("."), NAMES.get(key, "")):
            yield place, model
            yield from _places(whole, whole["$defs"][model], place)


def _models(schema: Schema, place: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield the place and the model of each table that a value may be."""
    if "$ref" in schema:
        yield place, schema["$ref"].rpartition("/")[2]
    for one in schema.get("anyOf", ()):
        yield from _models(one, place, name)
    if isinstance(schema.get("items"), Mapping):
        yield from _models(schema["items"], place, name)
    inner = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
    for value in inner:
        if isinstance(value, Mapping):
            yield from _models(value, f"{place}.{name or 'METRIC'}", "")


def _key_table(schema: Schema, help_of: Mapping[str, str]) -> str:
    needed = schema.get("required", ())
    rows = []
    for key, value in schema["properties"].items():
        default = "required" if key in needed else _default(value.get("default"))
        rows.append((f"`{key}`", values_of(value), default, help_of.get(key, "")))
    return _table(("key", "values", "default", "meaning"), rows)


def _default(value: Any) -> str:
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if each is not None}
        inner = ", ".join(f"{key} = {json.dumps(each)}" for key, each in kept.items())
        return f"`{{ {inner} }}`" if "first" in kept else ""  # of a table: its own rows
    return "" if value is None else f"`{json.dumps(value)}`"


def values_of(schema: Schema) -> str:
    """Return the allowed values of a key in words.

    >>> values_of({"type": "integer", "minimum": 1, "maximum": 20})
    'whole number, 1 to 20'
    """
    if "anyOf" in schema:
        return " or ".join(values_of(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{word}`" for word in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return _list_of(schema)
    if "type" not in schema or schema["type"] == "object":
        return "table"
    if "pattern" in schema:
        return "at most 64 letters, digits, `_`, `.` and `-`"
    return ", ".join([WORDS[schema["type"]], *_limits(schema)])


def _list_of(schema: Schema) -> str:
    most, least = schema.get("maxItems"), schema.get("minItems")
    count = f"{most} " if most is not None and most == least else ""
    many = f", at most {most:,}" if most is not None and not count else ""
    return f"list of {count}({values_of(schema['items'])}){many}"


def _limits(schema: Schema) -> Iterator[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        yield f"{_number(low)} to {_number(high)}"
        return
    limits = {"from": low, "above": above, "up to": high, "below": below}
    yield from (f"{word} {_number(value)}" for word, value in limits.items() if value is not None)


def _number(value: float) -> str:
    power = int(value).bit_length() - 1
    return f"2^{power}" if value >= 10**9 and value == 2**power else f"{value:,.10g}"


def docstrings() -> dict[str, dict[str, str]]:
    """Return the docstring below each key, by model and key."""
    module = ast.parse(inspect.getsource(spec))
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    return {node.name: dict(_documented(node.body)) for node in classes}


def _documented(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, below in itertools.pairwise(body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield field.target.id, code_marks(str(below.value.value))


def code_marks(text: str) -> str:
    """Return a docstring in one line, with code marked as in Markdown."""
    return " ".join(text.replace("``", "`").split())


# -- options of streams


def stream_options() -> str:
    """Return a table of the options of the shipped streams."""
    streams: dict[tuple[str, str, str], list[str]] = {}
    for name in STREAMS:
        for option, field in find_stream(name).Options.fields().items():
            default = _default(list(x) if isinstance(x := field.default, tuple) else x)
            row = (f"`{option}`", default or "none", field.metadata["help"])
            if option not in SET_BY_THE_PROGRAM:
                streams.setdefault(row, []).append(name)
    rows = [
        (*row, "all" if len(names) == len(STREAMS) else ", ".join(f"`{name}`" for name in names))
        for row, names in streams.items()
    ]
    return _table(("option", "default", "meaning", "streams"), rows)


# -- metrics


def metrics() -> str:
    """Return a section for each metric: its docstring, unit, direction and use."""
    return "\n\n".join(f"### `{name}`\n\n{_metric(metric)}" for name, metric in METRICS.items())


def _metric(metric: Metric) -> str:
    text = (inspect.getdoc(metric.function) or "").split("\n\n")
    paragraphs = [plain(part) for part in text if not part.startswith("Args:")]
    better = "higher" if metric.higher_is_better else "lower"
    facts = [
        f"Unit: {metric.unit}. Better: {better}.",
        f"A failed seed may count as {_worst(metric)} (`study.failed`).",
        f"{'Primary metric or objective of a study' if metric.name in PRIMARY else 'Report only'}.",
    ]
    if metric.name in SECONDARY:
        facts.append("Among those that are tested beside the primary metric.")
    if metric.transfer:
        facts.append("Not defined for an offline bound.")
    return "\n\n".join([*paragraphs, " ".join(facts)])


def _worst(metric: Metric) -> str:
    return "chance level" if metric.worst is None else f"{metric.worst:g}"


def plain(text: str) -> str:
    """Return a paragraph of a docstring with its formulas safe in Markdown."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(
        p if p.startswith("`") else re.sub(r"([\[\]<>*_{}|])", r"\\\1", p) for p in parts
    )


# -- Markdown


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = [*headings]
    cells = [
        head,
        ["---"] * len(head),
        *([each.replace("|", r"\|") for each in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


PARTS: dict[str, Callable[[], str]] = {
    "keys": keys,
    "metrics": metrics,
    "stream_options": stream_options,
}
