const std = @import("std");

pub fn main() !void {
    var buffer: [64]u8 = undefined;
    var out = std.fs.File.stdout().writer(&buffer);
    try out.interface.print("{s}\n", .{"out"});
    try out.interface.flush();
}
