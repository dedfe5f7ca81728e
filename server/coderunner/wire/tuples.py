"""Tuples with named fields, without the module `collections`, which is a millisecond of the agent's start."""

from __future__ import annotations

from operator import itemgetter

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections import namedtuple
else:

    def namedtuple(name, fields):
        """As of `collections`: a class of tuples. ``fields``: names, with spaces between them."""
        names = fields.split()
        body = {one: property(itemgetter(at)) for at, one in enumerate(names)}
        body.update(__slots__=(), _fields=tuple(names))
        # The only way to a function with these arguments.
        head = f"lambda cls, {', '.join(names)}: make(cls, ({', '.join(names)},))"
        body["__new__"] = eval(head, {"make": tuple.__new__})
        return type(name, (tuple,), body)


__all__ = ["namedtuple"]
