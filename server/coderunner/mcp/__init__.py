"""`coderunner mcp`: sessions of a server as tools for agents, by the Model Context Protocol.

Needs the extra `mcp` (`pip install 'coderunner[mcp]'`). It sees the server from outside, over HTTP.
"""
