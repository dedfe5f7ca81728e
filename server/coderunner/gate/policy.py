"""Decides which calls of the engine's API pass: those that match one of RULES and pass its check."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from coderunner.engine.building import BASE_LABEL, BUILT_LABEL, LABEL, archive_of
from coderunner.engine.containers import INSTANCE_LABEL, SESSION_TYPE
from coderunner.engine.networks import NETWORK_TYPE
from coderunner.engine.origin import ORIGIN
from coderunner.engine.recipes import PREFIX
from coderunner.engine.runtimes import RUN_EXEC, is_gvisor
from coderunner.engine.uses import IMAGES_LABEL, USES
from coderunner.gate.bodies import Refused, Tables, read_object

Ask = Callable[[str], Awaitable[tuple[int, Any]]]
"""Sends a GET request to the engine; returns (status, document)."""

MAX_ALIASES = 8  # host names of a member in its group's network
# No percent-encoding: the engine decodes a path before it looks for a route.
_PATH = re.compile(r"(/v1\.[0-9]{1,3})?(/[A-Za-z0-9_.:/-]{1,300})")
_NAME = r"([A-Za-z0-9][A-Za-z0-9_.-]{0,200})"
_IMAGE = r"([a-z0-9][A-Za-z0-9_.:/-]{0,200})"
# Exactly what `engine/attach.py` asks for; `logs` is 0, as the driver `none` keeps none.
_ATTACH = {"stream": "1", "stdin": "1", "stdout": "1", "stderr": "1", "logs": "0", "detachKeys": ""}


@dataclass(frozen=True, slots=True)
class Call:
    """One request as received. `body` None: not read yet, as it may be large."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = b""


@dataclass(frozen=True, slots=True)
class Permit:
    """The request that is sent to the engine instead. `body` None: the client's body is forwarded unread.

    `kind`: content type. `stream`: the connection is upgraded to a container's streams. `keep`: if not empty,
    only these fields of each row of the response are returned.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = b""
    kind: str = ""
    stream: bool = False
    keep: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """The request target: path and query."""
        return self.path + (f"?{urlencode(self.query)}" if self.query else "")


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of call. `pattern`: regular expression for the path without the API version. `looked`: what is
    checked, for the documentation. `handle`: name of the method of `Policy` that checks it."""

    method: str
    pattern: str
    looked: str
    handle: str
    streams: bool = False  # its body may be large, and is forwarded unread


def parse(target: str) -> tuple[str, str, dict[str, str]]:
    """Splits a request target into (version, path, query). Raises Refused if it is not in its plain form, as
    the engine could read it differently."""
    path, _, query = target.partition("?")
    found = _PATH.fullmatch(path)
    if found is None or "//" in path or "/../" in path + "/" or "/./" in path + "/":
        raise Refused("the path is not a plain one of the engine's API")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=32)
    except ValueError:
        raise Refused("the query is invalid") from None
    # Of two values of one name Go takes the first (net/url, Values.Get), and `dict` the last.
    if len({name.lower() for name, _ in pairs}) != len(pairs):
        raise Refused("the query has a name twice")
    return found[1] or "", found[2], dict(pairs)


class Policy:
    """Decides about calls. `ask`: sends a GET request to the engine, to look up what a call refers to."""

    def __init__(self, tables: Tables, ask: Ask) -> None:
        self._tables = tables
        self._ask = ask

    def find(self, method: str, path: str) -> tuple[Rule, tuple[str, ...]]:
        """Returns the rule for a call and the groups of its pattern. Raises Refused if there is none."""
        for rule in RULES:
            found = re.fullmatch(rule.pattern, path)
            if rule.method == method and found is not None:
                return rule, found.groups()
        raise Refused("a server does not make such a call")

    async def judge(self, call: Call) -> Permit:
        """Returns the request to send to the engine. Raises Refused."""
        rule, groups = self.find(call.method, call.path)
        # The name is from RULES, never from the request.
        permit: Permit = await getattr(self, f"_{rule.handle}")(call, groups)
        return permit

    # --- plain ------------------------------------------------------------------------------------------

    async def _plain(self, call: Call, _: tuple[str, ...]) -> Permit:
        _only(call.query)
        return Permit(call.method, call.path)

    # --- images -----------------------------------------------------------------------------------------

    async def _look_at_image(self, call: Call, groups: tuple[str, ...]) -> Permit:
        _only(call.query)
        if groups[0] != ORIGIN:
            _our_image(groups[0])
        return Permit(call.method, call.path)

    async def _list_images(self, call: Call, _: tuple[str, ...]) -> Permit:
        _only(call.query, "filters", "all", "only_ids")
        return Permit(call.method, call.path, {"filters": _filters(call, LABEL)})

    async def _remove_image(self, call: Call, groups: tuple[str, ...]) -> Permit:
        _only(call.query, "force", "noprune")
        _our_image(groups[0])
        return Permit(call.method, call.path)

    async def _prune_images(self, call: Call, _: tuple[str, ...]) -> Permit:
        _only(call.query, "filters")
        return Permit(call.method, call.path, {"filters": _filters(call, LABEL)})

    async def _fetch_origin(self, call: Call, _: tuple[str, ...]) -> Permit:
        name, tag = ORIGIN.split(":")
        query = {key: value for key, value in call.query.items() if value}
        if query == {"fromImage": name, "tag": tag}:
            return Permit(call.method, call.path, query)
        # An import replaces an image of the same name, which is used by whatever else runs on this engine.
        if query == {"fromSrc": "-", "repo": name, "tag": tag}:
            if (await self._ask(f"/images/{ORIGIN}/json"))[0] != 404:
                raise Refused(f"{ORIGIN} exists already, and others may use it")
            return Permit(call.method, call.path, query, None, kind="application/x-tar")
        raise Refused(f"only the image {ORIGIN} may be fetched")

    async def _build(self, call: Call, _: tuple[str, ...]) -> Permit:
        # The Docker SDK sends options that are off in several spellings; the engine gets only those that are
        # on.
        query = {key: value for key, value in call.query.items() if value not in ("", "False", "0", "None")}
        _only(query, "t", "nocache", "rm", "forcerm", "buildargs", "labels")
        recipe = self._tables.build(query.get("t", ""), query.get("buildargs", "{}"), call.body or b"")
        labels = read_object(query.get("labels", "{}").encode())
        if labels.get("type") != LABEL or not labels.keys() <= {"type", BUILT_LABEL, BASE_LABEL}:
            raise Refused("the image's labels are not those that a server sets")
        if not all(isinstance(value, str) for value in labels.values()):
            raise Refused("the image's labels are not strings")
        sent = {"t": recipe.reference, "rm": "1", "forcerm": "1", "labels": json.dumps(labels)}
        sent["buildargs"] = json.dumps(dict(recipe.arguments))
        if "nocache" in query:
            sent["nocache"] = "1"
        # A new archive of the recipe's files: two readers of tar can find different files in the same bytes.
        return Permit("POST", "/build", sent, archive_of(recipe.files).getvalue(), kind="application/tar")

    # --- containers -------------------------------------------------------------------------------------

    async def _list_containers(self, call: Call, _: tuple[str, ...]) -> Permit:
        _only(call.query, "all", "filters")
        query = {"all": call.query.get("all", "0"), "filters": _filters(call, SESSION_TYPE)}
        return Permit(call.method, call.path, query)

    async def _create(self, call: Call, _: tuple[str, ...]) -> Permit:
        _only(call.query, "name")
        sent, name = read_object(call.body or b""), call.query.get("name", "")
        joined = ""
        host = sent.get("HostConfig")
        network = host.get("NetworkMode") if isinstance(host, dict) else ""
        if isinstance(network, str) and network.startswith("container:"):
            joined = await self._container(network.partition(":")[2])
        body = self._tables.container(sent, name, lambda _name: joined)
        if joined:
            body["HostConfig"]["NetworkMode"] = f"container:{joined}"
        return _json("/containers/create", body, {"name": name})

    async def _container(self, name: str) -> str:
        """The full id of a container of this instance; "" if it does not exist. Raises Refused if it is of
        another instance."""
        if not re.fullmatch(_NAME, name):
            raise Refused("the container's name is invalid")
        return await self._ours(f"/containers/{name}/json", ("Config",), SESSION_TYPE, "the container")

    async def _network(self, name: str) -> str:
        return await self._ours(f"/networks/{name}", (), NETWORK_TYPE, "the network")

    async def _ours(self, path: str, way: tuple[str, ...], kind: str, what: str) -> str:
        status, document = await self._ask(path)
        if status == 404:
            return ""
        labels = document
        # A container's labels are below `Config`, a network's at the top.
        for key in (*way, "Labels"):
            labels = (labels or {}).get(key)
        labels = labels or {}
        instance = self._tables.settings.instance_name
        if status != 200 or labels.get("type") != kind or labels.get(INSTANCE_LABEL) != instance:
            raise Refused(f"{what} is not of this instance")
        return str(document["Id"])

    async def _use(self, call: Call, groups: tuple[str, ...], **more: Any) -> Permit:
        name, rest = groups[0], "".join(groups[1:])
        # By its full id: another container could get the name between this check and the call.
        full = await self._container(name) or name
        return replace(Permit(call.method, f"/containers/{full}{rest}"), **more)

    async def _act(self, call: Call, groups: tuple[str, ...]) -> Permit:
        _only(call.query)
        return await self._use(call, groups)

    async def _wait(self, call: Call, groups: tuple[str, ...]) -> Permit:
        _only(call.query, "condition")
        return await self._use(call, groups, query=dict(call.query))

    async def _attach(self, call: Call, groups: tuple[str, ...]) -> Permit:
        if dict(call.query) != _ATTACH:
            raise Refused("the parameters of attach are not those that a server uses")
        return await self._use(call, groups, query=dict(call.query), stream=True)

    async def _update(self, call: Call, groups: tuple[str, ...]) -> Permit:
        _only(call.query)
        body = self._tables.update(read_object(call.body or b""))
        return await self._use(call, groups, body=json.dumps(body).encode(), kind="application/json")

    async def _make_exec(self, call: Call, groups: tuple[str, ...]) -> Permit:
        _only(call.query)
        body = self._tables.inner_limits(read_object(call.body or b""))
        permit = await self._use(call, groups, body=json.dumps(body).encode(), kind="application/json")
        _, document = await self._ask(permit.path.removesuffix("/exec") + "/json")
        if not is_gvisor(((document or {}).get("HostConfig") or {}).get("Runtime")):
            raise Refused("commands are executed in gVisor's containers only")
        return permit

    async def _exec(self, call: Call, groups: tuple[str, ...]) -> Permit:
        _only(call.query)
        status, document = await self._ask(f"/exec/{groups[0]}/json")
        if status == 200:
            await self._container(str((document or {}).get("ContainerID")))
        if call.method == "GET":
            return Permit("GET", call.path)
        return _json(call.path, RUN_EXEC)

    async def _remove(self, call: Call, groups: tuple[str, ...]) -> Permit:
        _only(call.query, "force", "v", "link")
        # With `link`, the engine removes a link between two containers, and not the container.
        if call.query.get("link", "").lower() in ("1", "true"):
            raise Refused("links may not be removed")
        return await self._use(call, groups, query={"force": "1", "v": "1"})

    # --- volumes ----------------------------------------------------------------------------------------

    async def _list_volumes(self, call: Call, _: tuple[str, ...]) -> Permit:
        _only(call.query, "filters")
        return Permit(call.method, call.path, {"filters": _filters(call, USES, SESSION_TYPE)})

    async def _make_volume(self, call: Call, _: tuple[str, ...]) -> Permit:
        sent = {key: value for key, value in read_object(call.body or b"").items() if value}
        labels = sent.get("Labels")
        if not isinstance(labels, dict) or labels.keys() != {"type", INSTANCE_LABEL, IMAGES_LABEL}:
            raise Refused("the volume's labels are not those that a server sets")
        if not all(isinstance(value, str) for value in labels.values()) or labels["type"] != USES:
            raise Refused("the volume's labels are not those that a server sets")
        name = sent.get("Name")
        if not isinstance(name, str) or not re.fullmatch(_NAME, name) or not name.startswith(f"{USES}-"):
            raise Refused("the volume's name is not one that a server gives")
        body = {"Name": name, "Driver": "local", "Labels": labels}
        # With the options of the driver `local`, a volume can be any device or folder of the machine.
        if sent.keys() - body.keys() or sent.get("Driver", "local") != "local":
            raise Refused("a volume may not have options")
        return _json("/volumes/create", body)

    async def _one_volume(self, call: Call, groups: tuple[str, ...]) -> Permit:
        _only(call.query)
        status, document = await self._ask(f"/volumes/{groups[0]}")
        labels = (document or {}).get("Labels") or {}
        # A volume that does not exist passes: the engine's 404 is the answer that the server expects.
        if status == 200 and labels.get("type") not in (USES, SESSION_TYPE):
            raise Refused("the volume is not a server's")
        instance = self._tables.settings.instance_name
        if status == 200 and call.method == "DELETE" and labels.get(INSTANCE_LABEL) != instance:
            raise Refused("the volume is not of this instance")
        return Permit(call.method, call.path)

    # --- networks ---------------------------------------------------------------------------------------

    async def _list_networks(self, call: Call, _: tuple[str, ...]) -> Permit:
        _only(call.query, "filters")
        # A server needs the addresses of all networks, to choose free ones for a group.
        keep = ("Id", "Name", "Labels", "IPAM", "Created")
        return Permit(call.method, call.path, dict(call.query), keep=keep)

    async def _make_network(self, call: Call, _: tuple[str, ...]) -> Permit:
        _only(call.query)
        return _json("/networks/create", self._tables.network(read_object(call.body or b"")))

    async def _one_network(self, call: Call, groups: tuple[str, ...]) -> Permit:
        _only(call.query)
        return Permit(call.method, f"/networks/{await self._network(groups[0]) or groups[0]}")

    async def _join(self, call: Call, groups: tuple[str, ...]) -> Permit:
        _only(call.query)
        sent = read_object(call.body or b"")
        container = await self._container(str(sent.get("Container")))
        body: dict[str, Any] = {"Container": container or str(sent.get("Container"))}
        if groups[1] == "disconnect":
            body["Force"] = False
        else:
            names = (sent.get("EndpointConfig") or {}).get("Aliases")
            if not isinstance(names, list) or len(names) > MAX_ALIASES:
                raise Refused(f"the aliases are not a list of at most {MAX_ALIASES}")
            body["EndpointConfig"] = {"Aliases": [_alias(name) for name in names]}
        # Other options of an endpoint are an address, a MAC address and options of the driver.
        if {**sent, "Container": body["Container"]} != body:
            raise Refused("joining a network may have no options but aliases")
        network = groups[0]
        # `none` is the engine's own network, in which each container starts.
        if (network, groups[1]) != ("none", "disconnect"):
            network = await self._network(network) or network
        return _json(f"/networks/{network}/{groups[1]}", body)


def _json(path: str, body: Mapping[str, Any], query: Mapping[str, str] | None = None) -> Permit:
    return Permit("POST", path, query or {}, json.dumps(body).encode(), kind="application/json")


def _only(query: Mapping[str, str], *names: str) -> None:
    unknown = sorted(query.keys() - set(names))
    if unknown:
        raise Refused(f"the query has unexpected names: {', '.join(unknown)[:100]}")


def _our_image(reference: str) -> None:
    if not re.fullmatch(rf"{PREFIX}/[a-z0-9_-]+:[0-9a-f]+", reference):
        raise Refused("the image is not one of CodeRunner's")


def _filters(call: Call, *kinds: str) -> str:
    """The filters as JSON. Raises Refused if none is for a label `type` with one of `kinds`."""
    filters = read_object(call.query.get("filters", "{}").encode())
    labels = filters.get("label")
    wanted = [labels] if isinstance(labels, str) else labels
    # The API has two forms: a list, and an object with true for each value.
    if isinstance(wanted, dict):
        wanted = [name for name, on in wanted.items() if on is True]
    # The engine wants all labels of a list (moby, Args.MatchKVList), so one of them bounds the answer.
    if not isinstance(wanted, list) or not any(f"type={kind}" in wanted for kind in kinds):
        raise Refused(f"a filter for the label type={' or '.join(kinds)} is missing")
    return json.dumps(filters)


def _alias(name: Any) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,62}", name):
        raise Refused("an alias is not a plain host name")
    return name


RULES: tuple[Rule, ...] = (
    Rule("GET", "/(?:_ping|version|info)", "nothing", "plain"),
    Rule("GET", f"/images/{_IMAGE}/(?:json|history)", "an image of CodeRunner, or their base image",
         "look_at_image"),
    Rule("GET", "/images/json", "filtered by label", "list_images"),
    Rule("DELETE", f"/images/{_IMAGE}", "an image of CodeRunner", "remove_image"),
    Rule("POST", "/images/prune", "filtered by label", "prune_images"),
    Rule("POST", "/images/create", "the base image; uploaded only if it does not exist",
         "fetch_origin", streams=True),
    Rule("POST", "/build", "tag, arguments and every file are those of a language of this version", "build"),
    Rule("GET", "/containers/json", "filtered by label", "list_containers"),
    Rule("POST", "/containers/create", "the body equals one built from the table of settings", "create"),
    Rule("GET", f"/containers/{_NAME}(/json)", "of this instance", "act"),
    Rule("POST", f"/containers/{_NAME}(/(?:start|pause|unpause))", "of this instance", "act"),
    Rule("POST", f"/containers/{_NAME}(/wait)", "of this instance", "wait"),
    Rule("POST", f"/containers/{_NAME}(/attach)", "of this instance", "attach"),
    Rule("POST", f"/containers/{_NAME}(/update)", "of this instance; limits up to their ceilings", "update"),
    Rule("POST", f"/containers/{_NAME}(/exec)", "of this instance, in gVisor; the command is the one that"
         " sets the limits of its own control groups", "make_exec"),
    Rule("POST", "/exec/([0-9a-f]{64})/start", "of a container of this instance", "exec"),
    Rule("GET", "/exec/([0-9a-f]{64})/json", "of a container of this instance", "exec"),
    Rule("DELETE", f"/containers/{_NAME}", "of this instance", "remove"),
    Rule("GET", "/volumes", "filtered by label", "list_volumes"),
    Rule("POST", "/volumes/create", "a record of images in use: name and labels, no options", "make_volume"),
    Rule("GET", f"/volumes/{_NAME}", "the label", "one_volume"),
    Rule("DELETE", f"/volumes/{_NAME}", "the label", "one_volume"),
    Rule("GET", "/networks", "of each network, only names, labels and addresses are returned",
         "list_networks"),
    Rule("POST", "/networks/create", "the body equals one built from the table of settings", "make_network"),
    Rule("GET", f"/networks/{_NAME}", "of this instance", "one_network"),
    Rule("DELETE", f"/networks/{_NAME}", "of this instance", "one_network"),
    Rule("POST", f"/networks/{_NAME}/(connect|disconnect)", "network and container of this instance;"
         " no options but aliases", "join"),
)  # fmt: skip


def table() -> str:
    """RULES as the table of docs/engine-proxy.md."""
    lines = ["| call | what is checked |", "| --- | --- |"]
    for rule in RULES:
        path = rule.pattern.replace(_NAME, "NAME").replace(_IMAGE, "IMAGE").replace("(?:", "(")
        lines.append(f"| `{rule.method} {path.replace('|', ' or ')}` | {rule.looked} |")
    return "\n".join(lines) + "\n"
