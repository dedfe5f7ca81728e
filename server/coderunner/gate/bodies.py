"""Builds the bodies of create calls from this version's tables, and compares those of requests with them."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Network
from typing import Any

from msgspec import structs

from coderunner import declarations
from coderunner.canary.program import command as canary_command
from coderunner.config import Settings
from coderunner.core.limits import LimitRules, resolve
from coderunner.engine.containers import (
    DEADLINE_LABEL,
    INSTANCE_LABEL,
    OWNER_LABEL,
    ROLE_LABEL,
    SESSION_TYPE,
    SHM_SHARE,
    ContainerSpec,
    command_of,
    create_body,
)
from coderunner.engine.firewall import helper_body
from coderunner.engine.networks import BRIDGE_DIGITS, BRIDGE_PREFIX, NETWORK_TYPE, NetworkSpec, network_body
from coderunner.engine.recipes import Recipe, base_recipe, language_recipe, recipe_for
from coderunner.engine.runtimes import in_runtime, inner_limits, is_gvisor, pids_in, sandbox_bytes
from coderunner.schema.languages import Language
from coderunner.schema.limits import Limits

CANARY = "canary"
MAX_NUMBER = 1 << 50  # of bytes or threads, before the ceilings are looked at
MAX_LABEL = 256  # characters of a label's value
LABELS = frozenset(
    {"type", INSTANCE_LABEL, OWNER_LABEL, ROLE_LABEL, DEADLINE_LABEL, "coderunner.session",
     "coderunner.language", "coderunner.uid", "coderunner.group"}
)  # fmt: skip
# User and group have one number; a name would be looked up in the image's own /etc/passwd.
_USER = re.compile(r"([0-9]{1,7}):\1")
_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_BRIDGE = re.compile(rf"{BRIDGE_PREFIX}[0-9a-zA-Z]{{{BRIDGE_DIGITS}}}")


class Refused(Exception):
    """The request is not one that a server makes; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What the instance's server may create. `images`: languages by image reference. `recipes`: build recipes
    by image reference."""

    settings: Settings
    languages: Mapping[str, Language]
    rules: LimitRules
    images: Mapping[str, str]
    recipes: Mapping[str, Recipe]

    @classmethod
    def of(cls, settings: Settings) -> Tables:
        """Makes the tables from the settings and languages, which must be the server's. Raises ConfigError,
        BadRecipe."""
        declared = declarations.load(only=settings.languages)
        rules = declared.rules.under(
            memory_bytes=settings.docker_memory,
            cpus=settings.docker_cpus,
            lifetime_ms=settings.session_ttl,
            idle_ms=settings.session_idle_timeout,
        )
        uids = range(settings.session_uid_base, settings.session_uid_base + settings.session_uid_count)
        recipes, images = [base_recipe(declared.folder)], {}
        for name in declared.languages:
            recipe = language_recipe(declared.folder, name)
            final = recipe_for(recipe, uids)
            recipes += [recipe, final]
            images[final.reference] = name
        by_reference = {recipe.reference: recipe for recipe in recipes}
        return cls(settings, declared.languages, rules, images, by_reference)

    # --- containers ------------------------------------------------------------------------------------

    def container(self, sent: Mapping[str, Any], name: str, ours: Callable[[str], str]) -> dict[str, Any]:
        """The body for a container of a session, a canary or a helper. Raises Refused if `sent` differs.

        `name`: the container's. `ours`: returns the full id of a container of this instance ("" if there is
        none), for a helper that joins its network.
        """
        labels = self.labels(sent.get("Labels"), SESSION_TYPE)
        # Names are unique within an engine: any other could take one that another instance needs.
        if not name.startswith(f"{self.settings.network_prefix}-{self.settings.instance_name}-"):
            raise Refused("the container's name does not begin as this instance's do")
        if sent.get("Image") not in self.images:
            raise Refused("the image is not one of CodeRunner's languages")
        role = labels.get(ROLE_LABEL)
        if role in (None, CANARY):
            return _same(sent, self._session(sent, name, labels))
        return _same(sent, self._helper(sent, labels, ours))

    def _session(self, sent: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> dict[str, Any]:
        settings, declared = self.settings, self.languages[self.images[sent["Image"]]]
        runtime = declared.runtime or settings.docker_runtime
        language = in_runtime(declared, runtime)
        user = _USER.fullmatch(str(sent.get("User")))
        first = settings.session_uid_base
        if user is None or not first <= int(user[1]) < first + settings.session_uid_count:
            raise Refused("the user id is outside SESSION_UID_BASE and SESSION_UID_COUNT")
        spec = ContainerSpec(
            command=command_of(language),
            image=sent["Image"],
            name=name,
            uid=int(user[1]),
            limits=self._limits(language, sent, runtime),
            labels=labels,
            runtime=runtime,
            disk_read=settings.disk_read_limit,
            cgroup_parent=settings.cgroup_parent,
        )
        # A canary is a session's container in everything but its command.
        if labels.get(ROLE_LABEL) == CANARY:
            spec = replace(spec, command=canary_command(spec))
        return create_body(spec)

    def _helper(
        self, sent: Mapping[str, Any], labels: Mapping[str, str], ours: Callable[[str], str]
    ) -> dict[str, Any]:
        host = sent.get("HostConfig")
        network, words = str(host.get("NetworkMode") if isinstance(host, Mapping) else ""), sent.get("Cmd")
        # The first five words are Python, its options and the program: `_same` compares all of them later.
        arguments = tuple(str(word) for word in words[5:]) if isinstance(words, list) else ()
        make = partial(helper_body, sent["Image"], labels)
        # The machine's own network: only for the two fixed calls that add and remove the rules for all
        # groups.
        if network == "host" and arguments in (("host", BRIDGE_PREFIX), ("no-host",)):
            return make(network, arguments)
        if network.startswith("container:") and len(arguments) == 2 and arguments[0] == "member":
            # It becomes part of a firewall rule: a subnet that is not a group's would open the machine's
            # network.
            self._subnet(arguments[1])
            member = ours(network.partition(":")[2])
            if not member:
                raise Refused("the helper joins the network of a container of another instance")
            return make(network, arguments)
        raise Refused("the helper's network or arguments are not those that a server uses")

    def update(self, sent: Mapping[str, Any]) -> dict[str, int]:
        """The body for new limits of a container. Raises Refused if they exceed the ceilings."""
        memory, pids = sent.get("Memory"), sent.get("PidsLimit")
        most_pids = self._maximum("pids", "pids")
        most_memory = self._maximum("memory_bytes", "container_bytes")
        made: dict[str, int] = {}
        if memory is not None:
            made |= {"Memory": _whole(memory, most_memory)}
            # Memory and swap together: equal to Memory, the container gets no swap (Docker's API,
            # HostConfig).
            made["MemorySwap"] = made["Memory"]
        if pids is not None:
            made["PidsLimit"] = _whole(pids, most_pids)
        return _same(sent, made)

    def inner_limits(self, sent: Mapping[str, Any]) -> dict[str, Any]:
        """The body that sets the limits of gVisor's own control groups. Raises Refused if `sent` differs."""
        words = sent.get("Cmd")
        numbers = words[-2:] if isinstance(words, list) else ()
        if len(numbers) != 2 or not all(isinstance(one, str) and _NUMBER.fullmatch(one) for one in numbers):
            raise Refused("the command is not the one that sets limits")
        return _same(sent, inner_limits(int(numbers[0]), int(numbers[1])))

    def _limits(self, language: Language, sent: Mapping[str, Any], runtime: str | None) -> Limits:
        """The limits of the container that `sent` describes: the usual ones, but in gVisor, which cannot
        change them later, those that a session has requested. Raises Refused if they exceed the ceilings."""
        usual = resolve(self.rules.defaults, language.limits)
        host = sent.get("HostConfig")
        if not is_gvisor(runtime) or not isinstance(host, Mapping):
            return usual
        numbers = [host.get(name) for name in ("PidsLimit", "Memory", "ShmSize")]
        threads, memory, shared = (_whole(number, MAX_NUMBER) for number in numbers)
        pids = _whole(pids_in(threads), self._maximum("pids", "pids"))
        whole = _whole(memory - sandbox_bytes(pids), self._maximum("memory_bytes", "container_bytes"))
        # What is the compilers' says nothing of the programs', of which shared memory is a part.
        part = whole if whole > (usual.compile_memory_bytes or 0) else shared * SHM_SHARE
        return structs.replace(usual, pids=pids, memory_bytes=_whole(part, whole))

    def _maximum(self, ceiling: str, name: str) -> int:
        limits = [resolve(self.rules.defaults, one.limits) for one in self.languages.values()]
        return max(self.rules.ceilings.get(ceiling, 0), *(int(getattr(one, name)) for one in limits))

    def labels(self, sent: Any, kind: str) -> dict[str, str]:
        """The labels, if they are of this instance, of type `kind`, and only known ones. Raises Refused."""
        if not isinstance(sent, Mapping) or not all(
            name in LABELS and isinstance(value, str) and len(value) <= MAX_LABEL
            for name, value in sent.items()
        ):
            raise Refused("the labels are not those that a server sets")
        if sent.get("type") != kind or sent.get(INSTANCE_LABEL) != self.settings.instance_name:
            raise Refused("the labels name another instance or type")
        return dict(sent)

    # --- networks --------------------------------------------------------------------------------------

    def network(self, sent: Mapping[str, Any]) -> dict[str, Any]:
        """The body for a group's network. Raises Refused if `sent` differs."""
        labels, name = self.labels(sent.get("Labels"), NETWORK_TYPE), str(sent.get("Name"))
        if not name.startswith(f"{self.settings.network_prefix}-"):
            raise Refused("the network's name does not begin with NETWORK_PREFIX")
        try:
            subnet = sent["IPAM"]["Config"][0]["Subnet"]
            bridge = sent["Options"]["com.docker.network.bridge.name"]
        except (KeyError, TypeError, IndexError):
            raise Refused("the network has no subnet or no bridge name") from None
        if not isinstance(bridge, str) or not _BRIDGE.fullmatch(bridge):
            raise Refused("the network's bridge does not have a name as a server gives")
        spec = NetworkSpec(
            name=name, bridge=bridge.removeprefix(BRIDGE_PREFIX), subnet=self._subnet(subnet), labels=labels
        )
        return _same(sent, network_body(spec))

    def _subnet(self, text: Any) -> IPv4Network:
        try:
            subnet = IPv4Network(str(text))
        except ValueError:
            raise Refused("the subnet is invalid") from None
        if not subnet.subnet_of(IPv4Network(self.settings.group_address_pool)):
            raise Refused("the subnet is not in GROUP_ADDRESS_POOL")
        return subnet

    # --- images ----------------------------------------------------------------------------------------

    def build(self, tag: str, arguments: str, context: bytes) -> Recipe:
        """The recipe of the image `tag`. `arguments`: the build arguments as JSON. `context`: a tar archive.

        Raises Refused if there is no such recipe, or its arguments or files differ.
        """
        recipe = self.recipes.get(tag)
        if recipe is None:
            raise Refused("the image to build is not one of CodeRunner's languages")
        if read_object(arguments.encode()) != dict(recipe.arguments):
            raise Refused("the build's arguments differ from the recipe's")
        if _files(context) != dict(recipe.files):
            raise Refused("the build's files differ from the recipe's")
        return recipe


def read_object(data: bytes) -> dict[str, Any]:
    """Parses a JSON object. Raises Refused if it is invalid, or has a name twice in any spelling: the
    engine's parser (Go's) ignores case and takes the last one."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len({name.lower() for name in made}) != len(pairs):
            raise Refused("the body has a name twice")
        return made

    try:
        # RecursionError: raised by the parser for deeply nested brackets.
        found = json.loads(data, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise Refused("the body is not JSON") from None
    if not isinstance(found, dict):
        raise Refused("the body is not a JSON object")
    return found


def _same(sent: Mapping[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """Returns `made` if it equals what was sent. Otherwise raises Refused with the keys that differ."""
    if sent == made:
        return made
    wrong = sorted(key for key in sent.keys() | made.keys() if sent.get(key) != made.get(key))
    one, other = sent.get("HostConfig"), made.get("HostConfig")
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = one.keys() | other.keys()
        wrong += sorted(f"HostConfig.{key}" for key in keys if one.get(key) != other.get(key))
    raise Refused(f"these differ from the table of settings: {', '.join(wrong)[:300]}")


def _whole(value: Any, maximum: int) -> int:
    # A bool is an int in Python, and is not one for the engine.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= maximum:
        raise Refused("the limit is not a positive number, or is above its ceiling")
    return value


def _files(context: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        # "r:" is tar without compression: a compressed context of MAX_BODY could expand to any size.
        with tarfile.open(fileobj=io.BytesIO(context), mode="r:") as archive:
            for entry in archive:
                data = archive.extractfile(entry) if entry.isreg() else None
                if data is None or entry.name in found:
                    raise Refused("the build's context has an entry that is not a file, or one name twice")
                found[entry.name] = data.read()
    except tarfile.TarError:
        raise Refused("the build's context is not a tar archive") from None
    return found
