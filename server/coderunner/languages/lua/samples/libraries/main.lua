local json = require "cjson"
local files = require "lfs"
local lpeg = require "lpeg"
local socket = require "socket"

print(json.encode(json.decode('{"a": [1, 2, 3]}').a))
print(files.attributes("main.lua", "mode"))
print(lpeg.match(lpeg.R("09") ^ 1, "123abc"))
local server = assert(socket.bind("127.0.0.1", 0))
local _, port = server:getsockname()
local client = assert(socket.connect("127.0.0.1", port))
assert(server:accept()):send("over a socket\n")
print((client:receive()))
