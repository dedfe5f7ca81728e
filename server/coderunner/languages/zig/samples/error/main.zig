const std = @import("std");

pub fn main() !void {
    try std.fs.File.stdout().writeAll("before\n");
    const numbers = [_]u8{ 1, 2, 3 };
    var index: usize = std.os.argv.len;
    index += 5;
    std.debug.print("{d}\n", .{numbers[index]});
}
