"""A filtering proxy for the container engine's socket: only the calls that a server makes, with its bodies.

Whoever may use the socket is root on the machine. A server behind it, taken over, can make the
containers, images and networks of CodeRunner and nothing else: a create call's body is made anew here, from
the same table of settings, and must be the one that was sent. `policy` judges a request, `bodies` makes
bodies anew, `proxy` passes on what is allowed.
"""
