"""Run as a program in a container, on a network that is not its own: rules of the kernel for groups.

`host PREFIX`, on the host's network.  The host takes nothing that comes from a group.  An internal bridge
without an address of the host is not enough: a datagram to a broadcast or multicast address, or one bound to
the interface and sent without a route, still arrives at the host's sockets.  So one rule for each family (IP,
and ARP) drops what enters the host by a group's bridge.  Members talk on: what passes from port
to port of a bridge never passes these rules.  A third rule keeps their traffic out of the host's table of
connections, which a member could otherwise fill for everybody.

`member SUBNET`, on a member's network.  It sends to the group's addresses and to nobody else: the kernel has
one table of neighbours for all its networks, of a thousand entries, and each address that is asked for takes
one, so that a member could leave the host without any.  It has a table of connections of its own, for the
engine's answers about names, and no limit counts that memory: 67 MB were filled in seconds.  Only what goes
to and from the engine's name server is kept in it, and of that no more than a program needs.  The name server
is the engine itself, which keeps a descriptor for each TCP connection to it: it is asked by datagrams alone.

`no-host`, on the host's network, when no group is left: the table goes.

Standard library only, and no `nft` program: the few messages are spelled out (linux/netfilter/nf_tables.h).
All of them are one transaction; doing it again replaces the table with the same.  Exits 0 when it holds.
"""

import errno
import ipaddress
import socket
import struct
import sys

Request = tuple[int, int, int, bytes]
"""(kind, flags, family, body) of one message."""

TABLE = b"coderunner_groups"  # not `coderunner`: that is the operator's own, by docs/deployment.md
NETLINK_NETFILTER, NF_TABLES = 12, 10
BATCH_BEGIN, BATCH_END = 16, 17
NEW_TABLE, DELETE_TABLE, NEW_CHAIN, NEW_RULE = 0, 2, 3, 6
REQUEST, ACK, CREATE, APPEND = 1, 4, 0x400, 0x800
NESTED = 0x8000
INET, ARP = 1, 3
PRE_ROUTING, LOCAL_OUT = 0, 3
HOOK_INPUT = {INET: 1, ARP: 0}
PRIORITY = -400  # before everybody else's rules, and before connections are tracked (-200)
IIFNAME, OIFNAME, EQUAL, UNEQUAL, DROP, ACCEPT = 6, 7, 0, 1, 0, 1
NETWORK_HEADER, SOURCE, DESTINATION = 1, 12, 16
NAME_SERVER = bytes((127, 0, 0, 11))
NAMES_A_SECOND = 500
LOOPBACK = b"lo\0"
EVERYBODY = bytes((255, 255, 255, 255))
TRANSPORT, TCP, RESET = 16, 6, 1
VERDICT_REGISTER, REGISTER = 0, 1


def attribute(kind: int, *values: bytes) -> bytes:
    """A netlink attribute: its length, its kind, its values, padded to four bytes."""
    body = b"".join(values)
    return struct.pack("=HH", 4 + len(body), kind) + body + bytes(-len(body) % 4)


def number(kind: int, value: int) -> bytes:
    """An attribute that is a 32-bit number."""
    return attribute(kind, struct.pack(">i", value))


def message(kind: int, flags: int, family: int, resource: int, body: bytes, sequence: int) -> bytes:
    """A netlink message of the nf_tables subsystem."""
    whole = struct.pack(">BBH", family, 0, resource) + body
    return struct.pack("=IHHII", 16 + len(whole), kind, REQUEST | flags, sequence, 0) + whole


def expression(name: bytes, *values: bytes) -> bytes:
    """One step of a rule."""
    return attribute(NESTED | 1, attribute(1, name + b"\0"), attribute(NESTED | 2, *values))


def came_from(prefix: bytes) -> bytes:
    """Matches packets from interfaces whose names begin with this prefix."""
    return expression(b"meta", number(1, REGISTER), number(2, IIFNAME)) + expression(
        b"cmp", number(1, REGISTER), number(2, EQUAL), attribute(NESTED | 3, attribute(1, prefix))
    )


def verdict(code: int) -> bytes:
    """The step that ends a rule: DROP or ACCEPT."""
    value = attribute(NESTED | 2, attribute(NESTED | 2, number(1, code)))
    return expression(b"immediate", number(1, VERDICT_REGISTER), value)


def has_address(offset: int, address: bytes) -> bytes:
    """Matches packets with this address at this offset of the header."""
    place = number(2, NETWORK_HEADER) + number(3, offset) + number(4, len(address))
    return expression(b"payload", number(1, REGISTER), place) + expression(
        b"cmp", number(1, REGISTER), number(2, EQUAL), attribute(NESTED | 3, attribute(1, address))
    )


def elsewhere(subnet: ipaddress.IPv4Network) -> bytes:
    """What leaves by another interface than the loopback, and neither for the subnet nor for everybody."""

    def compare(value: bytes) -> bytes:
        data = attribute(NESTED | 3, attribute(1, value))
        return expression(b"cmp", number(1, REGISTER), number(2, UNEQUAL), data)

    load = expression(
        b"payload", number(1, REGISTER), number(2, NETWORK_HEADER), number(3, DESTINATION), number(4, 4)
    )
    mask = expression(
        b"bitwise",
        number(1, REGISTER), number(2, REGISTER), number(3, 4),
        attribute(NESTED | 4, attribute(1, subnet.netmask.packed)),
        attribute(NESTED | 5, attribute(1, bytes(4))),
    )  # fmt: skip
    leaves = expression(b"meta", number(1, REGISTER), number(2, OIFNAME)) + compare(LOOPBACK)
    return leaves + load + compare(EVERYBODY) + mask + compare(subnet.network_address.packed)


def below(rate: int) -> bytes:
    """Matches up to this many packets a second."""
    each = attribute(1, struct.pack(">Q", rate)) + attribute(2, struct.pack(">Q", 1))
    return expression(b"limit", each, number(3, rate), number(4, 0))


def over_tcp() -> bytes:
    """The steps that only TCP passes."""
    return expression(b"meta", number(1, REGISTER), number(2, TRANSPORT)) + expression(
        b"cmp", number(1, REGISTER), number(2, EQUAL), attribute(NESTED | 3, attribute(1, bytes((TCP,))))
    )


def chain(family: int, name: bytes, hook: int, *rules: bytes) -> list[Request]:
    """The messages that make a chain at a hook of the kernel."""
    where = attribute(NESTED | 4, number(1, hook), number(2, PRIORITY))
    table, named = attribute(1, TABLE + b"\0"), name + b"\0"
    body = table + attribute(3, named) + where + attribute(7, b"filter\0")
    begin = table + attribute(2, named)
    return [
        (NEW_CHAIN, CREATE, family, body),
        *((NEW_RULE, CREATE | APPEND, family, begin + attribute(NESTED | 4, rule)) for rule in rules),
    ]


def fresh_table(family: int) -> list[Request]:
    """The messages that replace our table by an empty one."""
    table = attribute(1, TABLE + b"\0")
    make = (NEW_TABLE, CREATE, family, table)
    return [make, (DELETE_TABLE, 0, family, table), make]  # first, as deleting a missing table fails


def host_rules(prefix: bytes) -> list[Request]:
    """All messages for the host. ``prefix``: what the bridges' names begin with."""
    found: list[Request] = []
    for family in (INET, ARP):
        found += fresh_table(family)
        found += chain(family, b"input", HOOK_INPUT[family], came_from(prefix) + verdict(DROP))
    return found + chain(INET, b"prerouting", PRE_ROUTING, came_from(prefix) + expression(b"notrack"))


def no_door() -> list[Request]:
    """The messages that remove our table from this network namespace."""
    return [request for family in (INET, ARP) for request in fresh_table(family)[:2]]


def member(subnet: ipaddress.IPv4Network, refusal: bytes) -> list[Request]:
    """`subnet`: the group's; `refusal`: what becomes of a TCP connection to the name server."""
    enough = below(NAMES_A_SECOND) + verdict(ACCEPT)
    names = [has_address(place, NAME_SERVER) + enough for place in (DESTINATION, SOURCE)]
    untracked = expression(b"notrack")
    connections = over_tcp() + has_address(DESTINATION, NAME_SERVER) + refusal
    return [
        *fresh_table(INET),
        *chain(INET, b"output", LOCAL_OUT, elsewhere(subnet) + verdict(DROP), connections, *names, untracked),
        *chain(INET, b"prerouting", PRE_ROUTING, untracked),  # what came by way of the above has its mark
    ]


def apply(asked: list[Request]) -> None:
    """Raises OSError with the kernel's reason."""
    batch = message(BATCH_BEGIN, 0, 0, NF_TABLES, b"", 0)
    for sequence, (kind, flags, family, body) in enumerate(asked, start=1):
        batch += message(NF_TABLES << 8 | kind, flags | ACK, family, 0, body, sequence)
    batch += message(BATCH_END, 0, 0, NF_TABLES, b"", len(asked) + 1)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.settimeout(5)
        netlink.sendto(batch, (0, 0))
        waiting = set(range(1, len(asked) + 1))
        while waiting:
            answer = netlink.recv(65536)
            while len(answer) >= 20:
                size, kind, _, sequence, _, code = struct.unpack_from("=IHHIIi", answer)
                if kind == 2 and code:
                    name = errno.errorcode.get(-code, str(code))
                    raise OSError(-code, f"nf_tables: {name} at message {sequence}")
                waiting.discard(sequence)
                answer = answer[(size + 3) & ~3 :]


def bound_member(subnet: ipaddress.IPv4Network) -> None:
    """Sets the rules of a member, in the words that this kernel has."""
    try:
        apply(member(subnet, expression(b"reject", number(1, RESET))))
    except FileNotFoundError:  # a kernel without that expression: the connection waits for nothing instead
        apply(member(subnet, verdict(DROP)))


if __name__ == "__main__":
    try:
        if sys.argv[1] == "host":
            apply(host_rules(sys.argv[2].encode()))
        elif sys.argv[1] == "no-host":
            apply(no_door())
        else:
            bound_member(ipaddress.IPv4Network(sys.argv[2]))
    except OSError as error:
        sys.exit(f"rules for groups cannot be set: {error}")
