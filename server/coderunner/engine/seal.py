"""Run as a program in a container on the host's network: the host takes nothing that comes from a group.

An internal bridge without an address of the host is not enough: a datagram to a broadcast or multicast
address, or one bound to the interface and sent without a route, still arrives at the host's sockets.  So one
rule for each family (IP, and ARP) drops, at the host's door, what enters by a group's bridge.  Members talk
on: what passes from port to port of a bridge never comes to this door.  A third rule keeps their traffic out
of the host's table of connections, which a member could otherwise fill for everybody.

Standard library only, and no `nft` program: the few messages are spelled out (linux/netfilter/nf_tables.h).
All of them are one transaction; doing it again replaces the table with the same.  Exits 0 when it holds.
"""

import errno
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
PRE_ROUTING = 0
HOOK_INPUT = {INET: 1, ARP: 0}
PRIORITY = -400  # before everybody else's rules, and before connections are tracked (-200)
IIFNAME, EQUAL, DROP = 6, 0, 0
VERDICT_REGISTER, REGISTER = 0, 1


def attribute(kind: int, *values: bytes) -> bytes:
    body = b"".join(values)
    return struct.pack("=HH", 4 + len(body), kind) + body + bytes(-len(body) % 4)


def number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">i", value))


def message(kind: int, flags: int, family: int, resource: int, body: bytes, sequence: int) -> bytes:
    whole = struct.pack(">BBH", family, 0, resource) + body
    return struct.pack("=IHHII", 16 + len(whole), kind, REQUEST | flags, sequence, 0) + whole


def expression(name: bytes, *values: bytes) -> bytes:
    return attribute(NESTED | 1, attribute(1, name + b"\0"), attribute(NESTED | 2, *values))


def came_from(prefix: bytes) -> bytes:
    """What came in by an interface whose name begins so."""
    return expression(b"meta", number(1, REGISTER), number(2, IIFNAME)) + expression(
        b"cmp", number(1, REGISTER), number(2, EQUAL), attribute(NESTED | 3, attribute(1, prefix))
    )


def drop() -> bytes:
    verdict = attribute(NESTED | 2, attribute(NESTED | 2, number(1, DROP)))
    return expression(b"immediate", number(1, VERDICT_REGISTER), verdict)


def chain(family: int, name: bytes, hook: int, expressions: bytes) -> list[Request]:
    """A chain of one rule."""
    where = attribute(NESTED | 4, number(1, hook), number(2, PRIORITY))
    table, named = attribute(1, TABLE + b"\0"), name + b"\0"
    body = table + attribute(3, named) + where + attribute(7, b"filter\0")
    rule = table + attribute(2, named) + attribute(NESTED | 4, expressions)
    return [(NEW_CHAIN, CREATE, family, body), (NEW_RULE, CREATE | APPEND, family, rule)]


def requests(prefix: bytes) -> list[Request]:
    found: list[Request] = []
    table = attribute(1, TABLE + b"\0")
    for family in (INET, ARP):
        found += [
            (NEW_TABLE, CREATE, family, table),  # so that there is one to delete
            (DELETE_TABLE, 0, family, table),
            (NEW_TABLE, CREATE, family, table),
            *chain(family, b"input", HOOK_INPUT[family], came_from(prefix) + drop()),
        ]
    untracked = came_from(prefix) + expression(b"notrack")
    return found + chain(INET, b"prerouting", PRE_ROUTING, untracked)


def seal(prefix: bytes) -> None:
    """Raises OSError with the kernel's reason."""
    asked = requests(prefix)
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


if __name__ == "__main__":
    try:
        seal(sys.argv[1].encode())
    except OSError as error:
        sys.exit(f"the host's door cannot be shut to groups: {error}")
