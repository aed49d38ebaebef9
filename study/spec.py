"""The study file: TOML with typed and validated keys."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from trainables.errors import InputError, unknown

# Upper limits, far above the needs of any study: a larger value is taken for a mistake.
MOST_SEEDS = 1_000  # a statistical test of more seeds would fill the memory
SEED_LIMIT = 2**63  # seeds are smaller
MOST_TRIALS = 100_000  # of a method
MOST_TASKS = 10_000
MOST_STEPS = 10**9
MOST_SWEEPS = 20  # of a method
MOST_CONFIRMED = 10  # configurations of a sweep
MOST_CPUS, MOST_GPUS = 10_000, 1_000  # of a trial
MOST_RUNS = 10**6  # behind a published figure
MOST_OF_A_METRIC = 1.5  # of a ratio of accuracies; most metrics reach 1

LONGEST_SHOWN = 200  # characters of a value that an error shows

Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class FileSection(BaseModel):
    """A table of the study file: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SeedRange(FileSection):
    """Consecutive seeds: ``count`` of them, or as many as are needed, ``up_to`` a number."""

    first: int = Field(ge=0, lt=2**62)
    """the first seed"""
    count: int | None = Field(default=None, ge=0, le=MOST_SEEDS)
    """number of seeds"""
    up_to: int | None = Field(default=None, ge=1, le=MOST_SEEDS)
    """for confirm.seeds, with confirm.stop = "decided" """

    @model_validator(mode="after")
    def _one_number(self) -> Self:
        if (self.count is None) == (self.up_to is None):
            raise ValueError(
                "give count, or up_to for confirmation seeds that are added until decided"
            )
        return self


Seed = Annotated[int, Field(ge=0, lt=SEED_LIMIT)]
Seeds = Annotated[list[Seed], Field(max_length=MOST_SEEDS)] | SeedRange


class StudySection(FileSection):
    """The question of the study."""

    name: Slug
    """also the name of the study's folder"""
    stream: str
    """a stream: `python -m study streams` lists them"""
    scenario: str = "class"
    """what a method may know: `task`, `domain`, `class` or `task_free`"""
    metric: str = "average_accuracy"
    """the one primary metric"""
    reference: str
    """the method that each other one is compared with"""
    comparisons: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []
    """pairs to compare, such as [["der", "replay"], ["ewc", "si"]], or differences of two methods,
    such as [["der - si", "replay - ewc"]]; default: each method with the reference, without offline
    bounds"""
    margin: float = Field(default=0.005, ge=0, lt=1, allow_inf_nan=False)
    """smallest difference of practical interest, in units of the metric"""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """family-wise error rate"""
    failed: Literal["error", "worst"] = "error"
    """treatment of a failed seed: no verdict, or counted as the worst score (chance level)"""
    number: Literal["percent", "fraction"] = "percent"
    """form of accuracies for readers; files of data have fractions"""


class Range(FileSection):
    """The range of an option, in place of the one in the search space or in addition."""

    low: float | None = None
    """least value"""
    high: float | None = None
    """greatest value"""
    log: bool = False
    """draw the logarithm of the value evenly, in place of the value"""
    choices: list[bool | int | float | str | list[int]] | None = None
    """allowed values, in place of low and high"""


class Request(NamedTuple):
    """The CPUs and GPUs of one trial."""

    cpus: float
    gpus: float = 0


def _shared_or_whole(gpus: float | None) -> float | None:
    if gpus is not None and gpus > 1 and not gpus.is_integer():
        raise ValueError("a trial has a share of one GPU, or whole ones")
    return gpus


Cpus = Annotated[float, Field(gt=0, le=MOST_CPUS)]
Gpus = Annotated[float, Field(ge=0, le=MOST_GPUS), AfterValidator(_shared_or_whole)]


class MethodResources(FileSection):
    """The resources of a method's trials, where they differ from those of the study."""

    cpus: Cpus | None = None
    """CPUs of a trial"""
    gpus: Gpus | None = None
    """GPUs of a trial; a fraction shares one"""


class MethodSection(FileSection):
    """One method: a learner with fixed options and ranges, possibly under another name."""

    learner: str | None = None
    """a learner: `python -m study methods` lists them; default: the name of the method"""
    fixed: dict[str, Any] = {}
    """values of options that are not searched"""
    space: dict[str, Range] = {}
    """ranges of options that are searched, by option"""
    resources: MethodResources = MethodResources()
    """resources of its trials; default: those of the study"""


class TuneSection(FileSection):
    """How every method is tuned: the same budget for each."""

    trials: int = Field(default=12, ge=0, le=MOST_TRIALS)
    """trials of each method; 0: confirm the defaults"""
    seeds: Seeds = [0, 1, 2]
    """seeds on which each trial is trained"""
    sampler: Literal["random", "tpe", "gp", "nsga2"] = "tpe"
    """how Optuna proposes configurations"""
    pruner: Literal["none", "asha"] = "none"
    """asha: stop weak trials between tasks"""
    racing: bool = False
    """give a configuration its next seeds only while it may still be the best: after 1, 2, 4, ...
    seeds its mean is compared with that of the best one on the same seeds"""
    protocol: Literal["end_of_stream", "first_tasks", "held_out_stream"] = "end_of_stream"
    """what a trial is scored on: the whole stream, its first tasks, or another stream"""
    tasks: int = Field(default=2, ge=1, le=MOST_TASKS)
    """tasks learnt while tuning, with protocol first_tasks"""
    stream: str | None = None
    """stream of the sweeps, with protocol held_out_stream"""
    objectives: list[str] = []
    """default: the primary metric; add memory_bytes, parameter_bytes, energy or synaptic_operations
    for a Pareto front"""
    require: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = {}
    """limits by metric, such as ``{ learning_accuracy = 0.8 }``: at least for a metric where higher
    is better, else at most. Configurations that keep them are preferred; if none does, the nearest
    is confirmed, with a caution"""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """seed of the sampler"""
    repeats: int = Field(default=1, ge=1, le=MOST_SWEEPS)
    """independent sweeps of each method, each on other seeds; the verdicts are about the first"""


class ConfirmSection(FileSection):
    """The best configuration on fresh seeds."""

    seeds: Seeds = SeedRange(first=100, count=10)
    """fresh seeds, none of which has tuned"""
    stop: Literal["planned", "decided"] = "planned"
    """when seeds stop: after all that are planned; or, with ``seeds = { first = 100, up_to = 30
    }``, for each method once all its comparisons are decided"""
    chosen_on: Seeds = []
    """seeds of an earlier study that chose the configurations; they may not confirm"""
    evaluate_every: int = Field(default=0, ge=0, le=MOST_STEPS)
    """steps between evaluations within a task; 0: evaluate only after each task"""
    top: int = Field(default=1, ge=1, le=MOST_CONFIRMED)
    """best configurations of a sweep that are confirmed; the verdicts are about the first"""


def check_address(address: str) -> None:
    """Refuse an invalid address of Ray.

    Raises:
        ValueError: with the valid forms.
    """
    if "://" in address:
        raise ValueError(
            "Ray's client is not supported: a study's driver runs on a machine of the cluster; "
            "log in there and use 'auto' or 'HOST:PORT'"
        )
    found = re.fullmatch(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+):([0-9]{1,5})", address)
    if address not in ("local", "auto") and not (found and 1 <= int(found[1]) <= 65535):
        raise ValueError(
            "an address is 'local', 'auto' (the cluster of this machine) or 'HOST:PORT', such as "
            "10.0.0.7:6379 or [fd00::7]:6379"
        )


class ResourcesSection(FileSection):
    """Where and how a study runs; affects its time, never its results."""

    address: str = "local"
    """the Ray to run on: `local` starts one, `auto` joins that of this machine, or `HOST:PORT`"""
    cpus_per_trial: Cpus = 1
    """CPUs of a trial"""
    gpus_per_trial: Gpus = 0
    """GPUs of a trial; a fraction shares one"""
    seeds_per_stack: Literal["auto"] | Annotated[int, Field(ge=1, le=MOST_SEEDS)] = "auto"
    """seeds trained at once; auto: the fastest number, which a short pilot finds"""
    task_minutes: float | None = Field(default=None, gt=0, le=1e5)
    """minutes after which a trial that has not ended a task is stopped; default: no limit"""

    @field_validator("address")
    @classmethod
    def _known_form(cls, address: str) -> str:
        check_address(address)
        return address


class PublishedSection(FileSection):
    """A published figure that the report sets beside ours."""

    mean: float = Field(allow_inf_nan=False)
    """the published mean, as a fraction"""
    sd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """sample standard deviation"""
    n: int | None = Field(default=None, ge=1, le=MOST_RUNS)
    """number of runs behind ``mean`` and ``sd``"""
    readout: str | None = None
    """readout of the learner; default: the primary one"""
    source: str = ""
    """where it was published"""
    not_comparable: str = ""
    """why the figure cannot be compared; empty if it can"""

    @field_validator("mean", "sd")
    @classmethod
    def _fraction(cls, value: float | None) -> float | None:
        if value is not None and abs(value) > MOST_OF_A_METRIC:
            raise ValueError("metrics are fractions here: write 0.94 for 94 %")
        return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


Figures = Annotated[list[PublishedSection], BeforeValidator(_listed)]


class Spec(FileSection):
    """A whole study file."""

    study: StudySection
    """the question"""
    stream: dict[str, Any] = {}
    """options of the stream"""
    methods: dict[Slug, MethodSection]
    """the methods by name; an empty table takes the defaults of the learner"""
    tune: TuneSection = TuneSection()
    """the tuning"""
    confirm: ConfirmSection = ConfirmSection()
    """the confirmation"""
    resources: ResourcesSection = ResourcesSection()
    """where the study runs"""
    published: dict[str, dict[str, Figures]] = {}
    """figures by method and metric; several for a learner with several readouts"""

    @field_validator("methods")
    @classmethod
    def _some_method(cls, methods: dict[str, MethodSection]) -> dict[str, MethodSection]:
        if not methods:
            raise ValueError("name at least one method")
        return methods

    @property
    def tune_seeds(self) -> tuple[int, ...]:
        return expand(self.tune.seeds)

    @property
    def confirm_seeds(self) -> tuple[int, ...]:
        return expand(self.confirm.seeds)

    @property
    def objectives(self) -> list[str]:
        """The objectives of a sweep; default: the primary metric."""
        return self.tune.objectives or [self.study.metric]

    def learner_of(self, method: str) -> str:
        return self.methods[method].learner or method

    def request(self, method: str) -> Request:
        """Return the CPUs and GPUs of a trial of a method."""
        own, all_ = self.methods[method].resources, self.resources
        return Request(
            all_.cpus_per_trial if own.cpus is None else own.cpus,
            all_.gpus_per_trial if own.gpus is None else own.gpus,
        )

    def plain(self) -> dict[str, Any]:
        """Return the study file as plain values, with the defaults filled in."""
        return self.model_dump(mode="json")

    @classmethod
    def parse(cls, values: Mapping[str, Any], source: str) -> Self:
        """Build from the values of a study file.

        Args:
            source: name of the study file, for errors.

        Raises:
            InputError: with the first invalid key and the allowed values.

        >>> study = {"name": "tiny", "stream": "split_digits", "reference": "ewc"}
        >>> Spec.parse({"study": study, "methods": {"ewc": {}}}, "tiny.toml").tune.trials
        12
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InputError(f"{source}: {_explain(error)}") from None


def expand(seeds: Seeds) -> tuple[int, ...]:
    """Return the seeds of a list or a range.

    >>> expand(SeedRange(first=100, count=3))
    (100, 101, 102)
    """
    if isinstance(seeds, SeedRange):
        return tuple(range(seeds.first, seeds.first + (seeds.count or seeds.up_to or 0)))
    return tuple(seeds)


def presets() -> dict[str, str]:
    """Return the texts of the shipped study files by name."""
    folder = files("study") / "presets"
    found = sorted(
        (item for item in folder.iterdir() if item.name.endswith(".toml")),
        key=lambda item: item.name,
    )
    return {item.name.removesuffix(".toml"): item.read_text(encoding="utf-8") for item in found}


def read(name_or_path: str, overrides: Sequence[str] = ()) -> tuple[Spec, str]:
    """Return a preset or a study file with overrides applied, and the name of the source.

    >>> spec, source = read("digits", ["tune.trials=4"])
    >>> spec.tune.trials, source
    (4, 'preset digits')
    """
    shipped = presets()
    if name_or_path in shipped:
        text, source = shipped[name_or_path], f"preset {name_or_path}"
    else:
        text, source = _read_file(name_or_path, shipped), name_or_path
    try:
        values = tomllib.loads(text)
    except ValueError as error:  # not TOMLDecodeError: a number of thousands of digits raises this
        raise InputError(f"{source} is not valid TOML: {error}.") from None
    for override in overrides:
        _override(values, override, source)
    spec = Spec.parse(values, source)
    folder = Path() if name_or_path in shipped else Path(name_or_path).parent
    try:
        return _with_facts(spec, folder), source
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def _with_facts(spec: Spec, folder: Path) -> Spec:
    """Return a study file with the facts of the user's file of data, if it names one: reports need
    them when the file is gone.

    Args:
        folder: of the study file.
    """
    file = spec.stream.get("file")
    if "contents" in spec.stream:
        raise InputError("stream.contents: the program reads this from the file. Remove the key.")
    if spec.study.stream != "split_file" or not isinstance(file, str):
        return spec
    from trainables.streams.own_file import facts_of

    path = (folder / file).absolute()
    facts = {"file": str(path), "contents": facts_of(path).text()}
    return spec.model_copy(update={"stream": spec.stream | facts})


def first_sentence(text: str) -> str:
    """Return the first sentence of the comment at the head of a study file."""
    head = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    whole = " ".join(line.lstrip("# ") for line in head)
    return re.split(r"(?<=\.)\s+(?=[A-Z])", whole, maxsplit=1)[0]


def _read_file(path: str, shipped: Mapping[str, str]) -> str:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        if Path(path).suffix or "/" in path:
            raise InputError(f"cannot read the study file {path}: {error.strerror}.") from None
        raise unknown("preset", path, shipped) from None
    try:
        return content.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path} is not a text file in UTF-8, as TOML requires: line {line} is in another "
            "encoding. Save the file as UTF-8."
        ) from None


def _override(values: dict[str, Any], override: str, source: str) -> None:
    """Set one key, given as ``table.key=TOML value``; an unquoted word is taken as a string."""
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise InputError(f"--set {override}: write KEY=VALUE, for example --set tune.trials=4.")
    *parents, last = _key(key, override, source)
    place = values
    for depth, parent in enumerate(parents):
        _check_dots(place, [*parents[depth:], last], override)
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise InputError(f"--set {override}: '{parent}' is not a table of the study file.")
    place[last] = _value(text, override)


def _key(key: str, override: str, source: str) -> list[str]:
    """Return the parts of a key; TOML may quote a part, as in ``methods."my.method".learner``."""
    parts = []
    try:
        found: Any = tomllib.loads(f"{key} = 0")
        while isinstance(found, dict):
            [(part, found)] = found.items()
            parts.append(part)
    except ValueError:
        raise InputError(
            f"{source}: --set {override}: '{key.strip()}' is not a key. Join names by dots, as in "
            "tune.trials, and quote a name with characters other than letters, digits, '_' and '-'."
        ) from None
    return parts


def _value(text: str, override: str) -> Any:
    """Return the TOML value of a text, or the text itself if it is not TOML."""
    try:
        found = tomllib.loads(f"value = {text}")
    except ValueError:
        return text.strip()
    if len(found) > 1:
        raise InputError(f"--set {override}: give one key. Give another key with another --set.")
    return found["value"]


def _check_dots(place: Mapping[str, Any], parts: Sequence[str], override: str) -> None:
    """Refuse a key that splits a name at its dot; such a name must be quoted."""
    written = ".".join(parts) + "."
    for name in place:
        if "." in name and parts[0] not in place and written.startswith(f"{name}."):
            raise InputError(
                f"--set {override}: the dot in {name} belongs to the name. Quote the name, "
                f'"{name}", and put single quotes around KEY=VALUE for the shell.'
            )


def _explain(error: ValidationError) -> str:
    """Return a sentence on the first invalid key: where, what is wrong, and what is allowed."""
    errors = [(_path(each["loc"]), each) for each in error.errors()]
    first = errors[0]
    start = first[0][:-1] if first[1]["type"] == "missing" else first[0]
    # a value with several allowed types has an error for each: the longest path is the type meant
    of_value = [item for item in errors if item[0][: len(start)] == start]
    path = max(of_value, key=lambda item: (len(item[0]), item[1]["type"] == "extra_forbidden"))[0]
    problems = [each for place, each in of_value if place == path]
    where, kind = _dotted(path), problems[0]["type"]
    if kind == "extra_forbidden":
        table = _dotted(path[:-1]) or "the study file"
        return f"{table}: {unknown('key', path[-1], _keys(path[:-1]))}"
    if kind == "missing":
        return f"{where} is missing."
    value = problems[0].get("input")
    if kind == "literal_error" and len(problems) == 1:
        names = re.findall("'([^']+)'", problems[0]["ctx"]["expected"])
        return f"{where}: {unknown('value', value, names)}"
    if kind == "string_pattern_mismatch":
        table = ".".join(path).removesuffix(".[key]")
        return (
            f"{table}: '{value}' is not a valid name. A name consists of at most 64 letters, "
            "digits, '_', '.' and '-', and begins with a letter or a digit."
        )
    if kind == "string_type" and len(problems) == 1 and not isinstance(value, list | dict):
        text = str(value).lower()  # as in TOML: true, not True
        return (
            f'{where} = {text}: a string is needed. Write "{text}", with the quotes; on the '
            f"command line --set 'KEY=\"{text}\"'."
        )
    messages = [problem["msg"].removeprefix("Value error, ") for problem in problems]
    messages = [
        re.sub(r"valid dictionary( or instance of \w+)?", "table", text) for text in messages
    ]
    requirements = ", or ".join(message[0].lower() + message[1:] for message in messages)
    text = json.dumps(value, default=str)
    shortened = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} ..."
    return f"{where} = {shortened}: {requirements}."


def _dotted(path: Sequence[str]) -> str:
    """Return a key in TOML form: a name that contains a dot is quoted."""
    bare = re.compile(r"[A-Za-z0-9_-]+")
    return ".".join(part if bare.fullmatch(part) else json.dumps(part) for part in path)


def _path(loc: Sequence[str | int]) -> list[str]:
    """Return the path of an error without the names of the types that pydantic tried."""
    types = ("constrained", "list[", "literal", "SeedRange", "function-after[")
    plain_types = ("bool", "int", "float", "str")
    parts = [part for part in map(str, loc) if not part.startswith(types)]
    # at depth 1 `int` may be the name of a method; deeper it is a type
    return [part for depth, part in enumerate(parts) if depth < 2 or part not in plain_types]


def _keys(path: Sequence[str]) -> list[str]:
    """Return the allowed keys of a table of the study file."""
    model: Any = Spec
    for part in path:
        if model is Spec and part == "methods":
            model = MethodSection
        elif model is Spec and part == "published":
            model = PublishedSection
        elif model is MethodSection and part == "space":
            model = Range
        elif model is not None and part in getattr(model, "model_fields", {}):
            kind = model.model_fields[part].annotation
            model = kind if isinstance(kind, type) else SeedRange
    return list(model.model_fields)
