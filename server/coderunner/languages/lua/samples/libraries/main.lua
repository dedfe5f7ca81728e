local json = require "cjson"
local files = require "lfs"
local lpeg = require "lpeg"
local socket = require "socket"

print(json.decode('{"a": [1, 2, 3]}').a[3])
print(files.attributes("main.lua", "mode"))
print(lpeg.match(lpeg.R("09") ^ 1, "123abc"))
local server = assert(socket.bind("127.0.0.1", 0))
local client = assert(socket.connect("127.0.0.1", select(2, server:getsockname())))
assert(server:accept()):send("over a socket\n")
print(client:receive())
