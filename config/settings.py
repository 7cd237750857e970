"""All settings in one value: defaults < file (TOML) < environment (TYPEGATE_*) < flags.

`Settings` only nests the option classes that live beside what they steer. `load` reads every source, remembers
where each value came from, and reports all faults at once: what was wrong, where it was said, what is allowed, and
the nearest name where one was misspelt. Relative paths are relative to the working directory.

In the file a section is a table (`[server]`, then `port = 8080`); in the environment section and name are joined
(`TYPEGATE_SERVER_PORT=8080`). Lists are TOML arrays there, JSON or comma-separated here.
"""

import dataclasses
import difflib
import json
import os
import re
import tomllib
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, PrivateAttr, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from config.bus import BusOptions
from config.edge import EdgeOptions, WireOptions
from config.gateway import (
    AdminOptions,
    AgentOptions,
    AuthOptions,
    ConnectionOptions,
    HttpOptions,
    LogOptions,
    NodeOptions,
    StopOptions,
    TlsOptions,
    host_name,
)
from config.processes import ADMIN_STEP, ProcessesOptions
from config.rooms import RoomOptions
from config.watch import WatchOptions
from config.webhook import WebhookOptions
from persistence.bans import BanOptions
from persistence.boards import BoardsOptions
from persistence.cache import CacheOptions
from persistence.catalogue import CatalogueOptions
from persistence.kafka.options import KafkaOptions
from persistence.kafka.topics import TopicOptions
from persistence.mysql import MysqlOptions
from persistence.races import RacesOptions
from persistence.redis import RedisOptions
from persistence.results import BestRules, SqliteResultsOptions
from persistence.stream import SpoolOptions, StreamOptions
from persistence.workers.feed import FeedOptions
from persistence.workers.rescore import RescoreOptions
from persistence.workers.worker import WorkerOptions
from session.options import SessionLimits
from session.race_options import RaceRules

__all__ = ["Fault", "Flag", "Settings", "SettingsError", "load", "unservable"]

PREFIX = "TYPEGATE_"
CONFIG_VARIABLE = "TYPEGATE_CONFIG"
DEFAULT_FILE = Path("typegate.toml")


class Flag(NamedTuple):
    """A value given on the command line."""

    name: str
    """As it was typed: `--port`."""
    value: object
    """What it says; None when it was not given."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the settings."""

    setting: str
    """`section.name`, or the section, or the file."""
    origin: str
    """Where it was said: a file, an environment variable or a flag."""
    message: str
    """What is wrong and what is allowed."""
    hint: str = ""
    """What was probably meant; empty where nothing comes near."""

    def __str__(self) -> str:
        return f"{self.setting} ({self.origin}): {self.message}" + (f" {self.hint}" if self.hint else "")


class SettingsError(Exception):
    """The settings cannot be used; `faults` are all that was found."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class Settings(BaseSettings):
    """Every option of the server, by section."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="_", env_nested_max_split=1
    )

    server: EdgeOptions = Field(default_factory=EdgeOptions)
    """Where it listens, and what a connection may do before and beside its WebSocket."""
    wire: WireOptions = Field(default_factory=WireOptions)
    """The limits of one WebSocket."""
    node: NodeOptions = Field(default_factory=NodeOptions)
    """Its name and its data folder."""
    processes: ProcessesOptions = Field(default_factory=ProcessesOptions)
    """As how many processes it serves."""
    admin: AdminOptions = Field(default_factory=AdminOptions)
    """The operators' port."""
    agent: AgentOptions = Field(default_factory=AgentOptions)
    """HAProxy's agent check."""
    tls: TlsOptions = Field(default_factory=TlsOptions)
    """TLS by this process itself."""
    auth: AuthOptions = Field(default_factory=AuthOptions)
    """Who may type."""
    connection: ConnectionOptions = Field(default_factory=ConnectionOptions)
    """What a connection may cost."""
    session: SessionLimits = Field(default_factory=SessionLimits)
    """What one test may be."""
    race: RaceRules = Field(default_factory=RaceRules)
    """The rules of races."""
    races: RacesOptions = Field(default_factory=RacesOptions)
    """How many races there may be."""
    rooms: RoomOptions = Field(default_factory=RoomOptions)
    """This process's part in them."""
    http: HttpOptions = Field(default_factory=HttpOptions)
    """The HTTP API's limits."""
    spool: SpoolOptions = Field(default_factory=SpoolOptions)
    """Results accepted and not yet stored."""
    stream: StreamOptions = Field(default_factory=StreamOptions)
    """How they go from the spool to the store."""
    kafka: KafkaOptions = Field(default_factory=KafkaOptions)
    """The brokers that take results, where there are any."""
    topics: TopicOptions = Field(default_factory=TopicOptions)
    """What Kafka's topics are to be like."""
    mysql: MysqlOptions = Field(default_factory=MysqlOptions)
    """The databases of results and tests, where they are not in the data folder."""
    results: SqliteResultsOptions = Field(default_factory=SqliteResultsOptions)
    """The store of results."""
    bests: BestRules = Field(default_factory=BestRules)
    """Which results are personal bests and go on boards."""
    cache: CacheOptions = Field(default_factory=CacheOptions)
    """Caches, in this process or in Redis."""
    boards: BoardsOptions = Field(default_factory=BoardsOptions)
    """Leaderboards."""
    bans: BanOptions = Field(default_factory=BanOptions)
    """Who may not come in."""
    redis: RedisOptions = Field(default_factory=RedisOptions)
    """Redis, where processes share one."""
    bus: BusOptions = Field(default_factory=BusOptions)
    """What processes say to each other."""
    watch: WatchOptions = Field(default_factory=WatchOptions)
    """Spectators of tests."""
    feed: FeedOptions = Field(default_factory=FeedOptions)
    """How workers read from Kafka."""
    worker: WorkerOptions = Field(default_factory=WorkerOptions)
    """Pace of a worker."""
    rescore: RescoreOptions = Field(default_factory=RescoreOptions)
    """Which results a worker plays again."""
    webhook: WebhookOptions = Field(default_factory=WebhookOptions)
    """Another site that is told of bests and ranks."""
    catalogue: CatalogueOptions = Field(default_factory=CatalogueOptions)
    """Tests and word lists."""
    stop: StopOptions = Field(default_factory=StopOptions)
    """How the server goes."""
    log: LogOptions = Field(default_factory=LogOptions)
    """What is logged."""

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _notes: list[str] = PrivateAttr(default_factory=list)

    @property
    def edge(self) -> EdgeOptions:
        """The edge's options, with the wire's within."""
        return dataclasses.replace(self.server, wire=self.wire)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given: `Settings()` is the defaults whatever the environment says; `load` reads the sources."""
        return (init_settings,)

    def origin(self, setting: str) -> str:
        """Where `section.name` was set; `default` where nobody did."""
        return self._origins.get(setting, "default")

    def notes(self) -> list[str]:
        """What is odd but no fault, for the log: environment variables that look like ours and are not."""
        return list(self._notes)


def load(
    *, file: Path | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, Flag] | None = None
) -> Settings:
    """Read every source and return the settings.

    `file`: without one, TYPEGATE_CONFIG's or ./typegate.toml where it exists. `environ`: the process's own by default.
    `flags`: by `section.name`. Raises SettingsError with all faults.
    """
    environ = os.environ if environ is None else environ
    faults: list[Fault] = []
    notes: list[str] = []
    given: dict[str, dict[str, tuple[object, str]]] = {name: {} for name in Settings.model_fields}
    layers = (
        _from_file(file, environ, faults),
        _from_environment(environ, faults, notes),
        _from_flags(flags or {}),
    )
    for layer in layers:
        for section, name, value, origin in layer:
            if _known(section, name, origin, faults):
                given[section][name] = (value, origin)

    sections: dict[str, Any] = {
        section: _section(section, type(default), values, faults)
        for section, default, values in ((s, _default(s), given[s]) for s in Settings.model_fields)
    }
    if faults:
        raise SettingsError(faults)
    settings = Settings(**sections)
    settings._notes.extend(notes)
    for section, values in given.items():
        settings._origins.update({f"{section}.{name}": origin for name, (_, origin) in values.items()})
    if faults := _across(settings):
        raise SettingsError(faults)
    settings._notes.extend(_remarks(settings))
    return settings


_EXPECTED = {
    "tuple_type": 'it must be a list, such as ["a", "b"]',
    "path_type": "it must be a path, as text",
    "string_type": "it must be text",
    "bool_parsing": "it must be true or false",
    "bool_type": "it must be true or false",
    "int_parsing": "it must be a whole number",
    "int_type": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "float_parsing": "it must be a number",
    "float_type": "it must be a number",
}
"""What is allowed, where the library says it in words for programmers."""

Given = tuple[str, str, object, str]
"""Section, name, value, origin. An empty name: the section itself is the value, and no table."""


def _from_file(file: Path | None, environ: Mapping[str, str], faults: list[Fault]) -> Iterator[Given]:
    """Every value of the TOML file."""
    origin = "flag --config"
    if file is None and environ.get(CONFIG_VARIABLE):
        file, origin = Path(environ[CONFIG_VARIABLE]), f"environment {CONFIG_VARIABLE}"
    if file is None:
        if not DEFAULT_FILE.exists():
            return
        file, origin = DEFAULT_FILE, "found in the working directory"
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as fault:
        faults.append(Fault(str(file), origin, f"cannot be read: {fault.strerror}."))
        return
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        faults.append(Fault(str(file), origin, f"is not valid TOML: {fault}."))
        return
    for section, values in table.items():
        if not isinstance(values, dict):
            yield section, "", values, f"file {file}"
            continue
        for name, value in values.items():
            yield section, name, value, f"file {file}"


def _from_environment(environ: Mapping[str, str], faults: list[Fault], notes: list[str]) -> Iterator[Given]:
    """Every TYPEGATE_<SECTION>_<NAME>. Others are only noted: Kubernetes sets TYPEGATE_SERVICE_HOST and its like."""
    ours: dict[str, str | None] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        section, _, name = variable.removeprefix(PREFIX).lower().partition("_")
        if section in Settings.model_fields and name:
            ours[variable.lower()] = value
        else:
            near = _near(variable, [f"{PREFIX}{s}_{n}".upper() for s in Settings.model_fields for n in _names(s)])
            notes.append(f"environment variable {variable} is no setting and was passed over. {near}".rstrip())
    source = EnvSettingsSource(Settings)
    source.env_vars = ours
    for section, values in source().items():
        for name, value in values.items():
            variable = f"{PREFIX}{section}_{name}".upper()
            yield section, name, _listed(section, name, value, variable, faults), f"environment {variable}"


def _from_flags(flags: Mapping[str, Flag]) -> Iterator[Given]:
    for setting, flag in flags.items():
        if flag.value is not None:
            section, _, name = setting.partition(".")
            yield section, name, flag.value, f"flag {flag.name}"


def _listed(section: str, name: str, value: object, variable: str, faults: list[Fault]) -> object:
    """The environment's text as a list or map where the setting is one."""
    kind = _types(section).get(name)
    if not isinstance(value, str) or typing.get_origin(kind) not in (tuple, list, dict, set, frozenset):
        return value
    if value.lstrip()[:1] not in ("[", "{"):
        return [part.strip() for part in value.split(",") if part.strip()]
    try:
        return json.loads(value)
    except ValueError as fault:
        faults.append(Fault(f"{section}.{name}", f"environment {variable}", f"is not valid JSON: {fault}."))
        return []


def _known(section: str, name: str, origin: str, faults: list[Fault]) -> bool:
    """Whether there is such a setting; if not, a fault with the nearest name."""
    if section not in Settings.model_fields:
        allowed = ", ".join(Settings.model_fields)
        faults.append(
            Fault(section, origin, f"is no section; there are {allowed}.", _near(section, Settings.model_fields))
        )
    elif not name:
        faults.append(Fault(section, origin, f"is a section; write [{section}] and its settings below."))
    elif name not in _names(section):
        elsewhere = [f"{other}.{name}" for other in Settings.model_fields if name in _names(other)]
        hint = _near(name, _names(section)) or (f"Did you mean {elsewhere[0]}?" if elsewhere else "")
        faults.append(
            Fault(f"{section}.{name}", origin, f"is no setting; [{section}] has {', '.join(_names(section))}.", hint)
        )
    else:
        return True
    return False


def _section(section: str, kind: type[Any], given: Mapping[str, tuple[object, str]], faults: list[Fault]) -> object:
    """The section's options from what was given; its defaults where that is faulty."""
    types = _types(section)
    values: dict[str, object] = {}
    for name, (raw, origin) in given.items():
        if raw == "" and type(None) in typing.get_args(types[name]):
            raw = None  # TOML and the environment have no other word for "none"
        try:
            values[name] = TypeAdapter(types[name]).validate_python(raw)
        except ValidationError as fault:
            for error in fault.errors():
                text = _EXPECTED.get(error["type"]) or error["msg"].removeprefix("Value error, ")
                place = "".join(f"[{part}]" for part in error["loc"] if isinstance(part, int))
                faults.append(
                    Fault(f"{section}.{name}{place}", origin, f"is {_shown(raw)}; {text[0].lower()}{text[1:]}.")
                )
    while True:
        message = _refusal(kind, values)
        if message is None:
            return kind(**values)
        # whose removal changes what is wrong is to blame; then look for what else is wrong without it
        blamed = [n for n in values if _refusal(kind, {k: v for k, v in values.items() if k != n}) != message]
        where = [f"{section}.{name}" for name in blamed] or [section]
        origins = dict.fromkeys(given[name][1] for name in blamed)
        faults.append(Fault(" and ".join(where), ", ".join(origins) or "default", f"{message.rstrip('.')}."))
        if not blamed:
            return _default(section)
        for name in blamed:
            del values[name]


def _shown(raw: object) -> str:
    """A value as it was given, without what may be a password in an address."""
    return re.sub(r"://.*@", "://...@", repr(raw))


def _refusal(kind: type[Any], values: Mapping[str, object]) -> str | None:
    """Why the option class refuses these values; None when it takes them."""
    try:
        kind(**values)
    except (ValueError, TypeError) as fault:
        return str(fault)
    return None


def _across(settings: Settings) -> list[Fault]:
    """What no section can see alone."""
    faults = []
    server = settings.server

    def fault(names: str, message: str) -> None:
        origins = dict.fromkeys(settings.origin(name) for name in names.split(" and "))
        faults.append(Fault(names, ", ".join(origins), message))

    try:
        host_name("host", server.host)  # an empty one would be taken for all addresses, and is seldom meant so
    except ValueError as error:
        fault("server.host", f"{error}.")
    if server.proxy_protocol == "optional" and settings.tls.enabled:
        fault(
            "server.proxy_protocol and tls.cert",
            "a header that may be there or not cannot be told from TLS without reading into it: set it to required.",
        )
    patience_ms, rebalance_ms = settings.worker.patience_ms, settings.feed.rebalance_ms
    if patience_ms >= rebalance_ms:
        fault(
            "worker.patience_ms and feed.rebalance_ms",
            f"a worker finishes its batch within {patience_ms} ms, and is waited for no longer than {rebalance_ms}; "
            "let the first be less, or others do that batch once more.",
        )
    taken = {server.port: "server.port"}
    for name, port in (("admin", settings.admin), ("agent", settings.agent)):
        if port.enabled and port.port:
            other = taken.setdefault(port.port, f"{name}.port")
            if other != f"{name}.port":
                message = f"both are {port.port}; give the {name} port another (0 takes a free one)."
                fault(f"{other} and {name}.port", message)
    return faults


def _remarks(settings: Settings) -> Iterator[str]:
    """What no section can see alone, and is no fault."""
    if settings.kafka.enabled and not settings.redis.enabled:
        yield (
            "kafka.servers is set and neither redis.url nor redis.nodes: workers have no way to tell gateways what is "
            "new, so lists and boards are read from MySQL each time, and nobody hears of a personal best"
        )
    if settings.mysql.enabled and not settings.kafka.enabled:
        yield (
            "mysql.shards is set and kafka.servers is not: this server writes results to MySQL itself; of such servers "
            "there may be one, for lists and boards in another's memory would not hear of it"
        )
    if settings.kafka.enabled and not settings.mysql.content:
        yield (
            "kafka.servers is set and mysql.content is not: servers and workers have the tests and word lists of their "
            "own data folders; a worker cannot play a result again whose test it does not have, and a ban holds where "
            "it was made"
        )


def unservable(settings: Settings) -> list[Fault]:
    """What keeps a server or a worker from being of use; commands for one part of the whole need not mind."""

    def fault(names: str, message: str) -> Fault:
        origins = dict.fromkeys(settings.origin(name) for name in names.split(" and "))
        return Fault(names, ", ".join(origins), message)

    faults = []
    processes = settings.processes
    if processes.count > 1 and not settings.redis.enabled:
        faults.append(
            fault(
                "processes.count and redis.url",
                f"there are {processes.count} processes and no Redis; each would have lists and boards of its own "
                "and hear of nobody else's results: set redis.url (or redis.nodes), or serve with one process.",
            )
        )
    if processes.count > 1 and not processes.own_ports and settings.agent.enabled:
        faults.append(
            fault(
                "processes.own_ports and agent.enabled",
                "HAProxy's agent check is for one process, and here they share a port: set processes.own_ports, so "
                "that each is a server of its own, or switch the agent off.",
            )
        )
    if processes.count > 1:
        faults += _ports(settings, fault)
    if settings.kafka.enabled and not settings.mysql.enabled:
        faults.append(
            fault(
                "kafka.servers and mysql.shards",
                "there is a Kafka and no MySQL; what Kafka takes, workers write to databases that all processes reach: "
                "set mysql.shards too, or neither.",
            )
        )
    if settings.webhook.enabled and not settings.kafka.enabled:
        faults.append(
            fault(
                "webhook.url and kafka.servers",
                "workers post to it, and there are none without a Kafka: set kafka.servers too.",
            )
        )
    return faults


def _ports(settings: Settings, fault: Callable[[str, str], Fault]) -> Iterator[Fault]:
    """Ports that several processes would take twice, or that there are not."""
    count, admin = settings.processes.count, settings.admin
    taken: dict[int, str] = {}
    for name, first, steps in (
        ("server.port", settings.server.port, range(count if settings.processes.own_ports else 1)),
        ("admin.port", admin.port if admin.enabled else 0, [0, *range(ADMIN_STEP, ADMIN_STEP + count)]),
        ("agent.port", settings.agent.port if settings.agent.enabled else 0, range(count)),
    ):
        if not first:
            continue
        ports = [first + step for step in steps]
        if ports[-1] > 65_535:
            yield fault(name, f"is {first}, and ports up to {ports[-1]} are taken; there are none above 65535.")
        for other in {taken[port] for port in ports if port in taken}:
            yield fault(
                f"{other} and {name}",
                f"{count} processes take ports {first} to {ports[-1]}, of which {other} has some; move one of them.",
            )
        taken |= dict.fromkeys(ports, name)


def _default(section: str) -> Any:
    return Settings.model_fields[section].get_default(call_default_factory=True)


def _names(section: str) -> list[str]:
    """The section's settings; options nested in options are a section of their own."""
    return [
        field.name
        for field in dataclasses.fields(_default(section))
        if not dataclasses.is_dataclass(getattr(_default(section), field.name))
    ]


def _types(section: str) -> dict[str, Any]:
    return typing.get_type_hints(type(_default(section)))


def _near(name: str, names: typing.Iterable[str]) -> str:
    """A hint with the nearest of `names`; empty when none is near."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.7)
    return f"Did you mean {near[0]}?" if near else ""
