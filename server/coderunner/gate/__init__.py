"""A filtering proxy for the container engine's socket, which allows only the calls that a server makes.

Access to the engine's socket is equal to root on the machine. A compromised server behind this proxy can make
CodeRunner's containers, images and networks, and nothing else: the proxy builds the body of each create call
itself, from the same table of settings, and refuses a request whose body differs. `policy` decides about
requests, `bodies` builds the bodies, `proxy` forwards what is allowed.
"""
