"""A program that sets the kernel's firewall rules for groups. It runs in a helper container.

`host PREFIX`, in the host's network namespace: the host accepts no packets from groups. An internal bridge
without an address of the host is not enough: a datagram to a broadcast or multicast address, or one sent on
the interface without a route, still arrives at the host's sockets. So one rule for each family (IP and ARP)
drops packets that enter the host by a group's bridge. Traffic between members passes only the bridge's ports,
where these rules do not apply. A third rule keeps it out of the host's connection tracking table, which a
member could otherwise fill for all.

`member SUBNET`, in a member's network namespace: it may send to the group's addresses only. The kernel has
one neighbour (ARP) table of about a thousand entries for all namespaces, and each address that a member tries
takes one, so that it could leave none to the host. The namespace has its own connection tracking table, which
the engine's name server needs, and whose memory counts against no container: 67 MB were filled in seconds. So
only traffic with that name server is tracked, at a limited rate. The name server is part of the engine, which
would keep a descriptor for each TCP connection to it; so it can be used over UDP only.

`no-host`, in the host's network namespace: removes the table, when no group is left.

It uses the standard library only, and not the `nft` program: the few netlink messages are built here (see
linux/netfilter/nf_tables.h). All of them are one transaction, which replaces the table of an earlier run.
Exits with 0 if the rules are in force, otherwise with 1 and the reason on stderr."""

import errno
import ipaddress
import socket
import struct
import sys

Request = tuple[int, int, int, bytes]
"""(kind, flags, family, body) of one message."""

TABLE = b"coderunner_groups"  # `coderunner` is the operator's table in docs/deployment.md
# The numbers below are the kernel's, from linux/netlink.h and linux/netfilter/*.h.
NETLINK_NETFILTER, NF_TABLES = 12, 10
BATCH_BEGIN, BATCH_END = 16, 17
NEW_TABLE, DELETE_TABLE, NEW_CHAIN, NEW_RULE = 0, 2, 3, 6
REQUEST, ACK, CREATE, APPEND = 1, 4, 0x400, 0x800
NESTED = 0x8000
INET, ARP = 1, 3
PRE_ROUTING, LOCAL_OUT = 0, 3
HOOK_INPUT = {INET: 1, ARP: 0}
PRIORITY = -400  # before all other rules, and before connection tracking (-200)
IIFNAME, OIFNAME, EQUAL, UNEQUAL, DROP, ACCEPT = 6, 7, 0, 1, 0, 1
NETWORK_HEADER, SOURCE, DESTINATION = 1, 12, 16
NAME_SERVER = bytes((127, 0, 0, 11))  # where the engine answers in a container with a network
NAMES_A_SECOND = 500  # packets to the name server, and as many from it
LOOPBACK = b"lo\0"
EVERYBODY = bytes((255, 255, 255, 255))
TRANSPORT, TCP, RESET = 16, 6, 1
VERDICT_REGISTER, REGISTER = 0, 1


def attribute(kind: int, *values: bytes) -> bytes:
    """A netlink attribute: its length, its kind, its values, padded to four bytes."""
    # Every body is padded, but its length does not count the padding.
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
    # NFTA_LIST_ELEM with NFTA_EXPR_NAME and NFTA_EXPR_DATA.
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
    """Matches packets that leave by another interface than loopback, and whose destination is neither in the
    subnet nor the broadcast address."""

    # Comparisons of one rule are combined with 'and': the first that fails ends it.
    def compare(value: bytes) -> bytes:
        data = attribute(NESTED | 3, attribute(1, value))
        return expression(b"cmp", number(1, REGISTER), number(2, UNEQUAL), data)

    load = expression(
        b"payload", number(1, REGISTER), number(2, NETWORK_HEADER), number(3, DESTINATION), number(4, 4)
    )
    # The kernel has no 'in subnet': the address is masked, and then compared.
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
    """Matches TCP packets."""
    return expression(b"meta", number(1, REGISTER), number(2, TRANSPORT)) + expression(
        b"cmp", number(1, REGISTER), number(2, EQUAL), attribute(NESTED | 3, attribute(1, bytes((TCP,))))
    )


def chain(family: int, name: bytes, hook: int, *rules: bytes) -> list[Request]:
    """The messages that make a chain with these rules at a hook of the kernel."""
    where = attribute(NESTED | 4, number(1, hook), number(2, PRIORITY))
    # NFTA_CHAIN_TABLE, _NAME, _HOOK and _TYPE; for a rule _TABLE, _CHAIN and _EXPRESSIONS.
    table, named = attribute(1, TABLE + b"\0"), name + b"\0"
    body = table + attribute(3, named) + where + attribute(7, b"filter\0")
    begin = table + attribute(2, named)
    return [
        (NEW_CHAIN, CREATE, family, body),
        *((NEW_RULE, CREATE | APPEND, family, begin + attribute(NESTED | 4, rule)) for rule in rules),
    ]


def fresh_table(family: int) -> list[Request]:
    """The messages that make the table, or empty it if it exists."""
    table = attribute(1, TABLE + b"\0")
    make = (NEW_TABLE, CREATE, family, table)
    return [make, (DELETE_TABLE, 0, family, table), make]  # created first, as deleting a missing table fails


def host_rules(prefix: bytes) -> list[Request]:
    """The messages for the host. `prefix`: with which the names of groups' bridges begin."""
    found: list[Request] = []
    # ARP as well: the host would answer it for its own addresses, and learn the members' addresses.
    for family in (INET, ARP):
        found += fresh_table(family)
        found += chain(family, b"input", HOOK_INPUT[family], came_from(prefix) + verdict(DROP))
    return found + chain(INET, b"prerouting", PRE_ROUTING, came_from(prefix) + expression(b"notrack"))


def no_door() -> list[Request]:
    """The messages that remove the table from this network namespace."""
    return [request for family in (INET, ARP) for request in fresh_table(family)[:2]]


def member(subnet: ipaddress.IPv4Network, refusal: bytes) -> list[Request]:
    """The messages for a member. `subnet`: the group's. `refusal`: the last step of the rule for TCP
    connections to the name server."""
    enough = below(NAMES_A_SECOND) + verdict(ACCEPT)
    names = [has_address(place, NAME_SERVER) + enough for place in (DESTINATION, SOURCE)]
    untracked = expression(b"notrack")
    connections = over_tcp() + has_address(DESTINATION, NAME_SERVER) + refusal
    return [
        *fresh_table(INET),
        # In this order: TCP to the name server is refused before the rule that accepts its address.
        *chain(INET, b"output", LOCAL_OUT, elsewhere(subnet) + verdict(DROP), connections, *names, untracked),
        *chain(INET, b"prerouting", PRE_ROUTING, untracked),  # replies to tracked packets stay tracked
    ]


def apply(asked: list[Request]) -> None:
    """Sends the messages as one transaction. Raises OSError with the kernel's reason."""
    batch = message(BATCH_BEGIN, 0, 0, NF_TABLES, b"", 0)
    for sequence, (kind, flags, family, body) in enumerate(asked, start=1):
        # Each message asks for an acknowledgement, so that an error has the number of its message.
        batch += message(NF_TABLES << 8 | kind, flags | ACK, family, 0, body, sequence)
    batch += message(BATCH_END, 0, 0, NF_TABLES, b"", len(asked) + 1)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.settimeout(5)
        netlink.sendto(batch, (0, 0))
        # Without all acknowledgements the transaction is not known to be in force.
        waiting = set(range(1, len(asked) + 1))
        while waiting:
            answer = netlink.recv(65536)
            while len(answer) >= 20:
                size, kind, _, sequence, _, code = struct.unpack_from("=IHHIIi", answer)
                # Kind 2 is NLMSG_ERROR, which is also the acknowledgement, with code 0.
                if kind == 2 and code:
                    name = errno.errorcode.get(-code, str(code))
                    raise OSError(-code, f"nf_tables: {name} at message {sequence}")
                waiting.discard(sequence)
                answer = answer[(size + 3) & ~3 :]


def bound_member(subnet: ipaddress.IPv4Network) -> None:
    """Sets the rules of a member. Raises OSError."""
    try:
        apply(member(subnet, expression(b"reject", number(1, RESET))))
    except FileNotFoundError:  # a kernel without `reject`: such connections time out instead
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
        sys.exit(f"firewall rules for groups cannot be set: {error}")
