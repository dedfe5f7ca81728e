const std = @import("std");

pub fn main() !void {
    var buffer: [4096]u8 = undefined;
    var out = std.fs.File.stdout().writer(&buffer);
    for (std.os.argv[1..], 1..) |word, number| {
        try out.interface.print("{d} {s}\n", .{ number, word });
    }
    try out.interface.flush();
}
