const std = @import("std");
const Circle = @import("shapes/circle.zig").Circle;

pub fn main() !void {
    var buffer: [64]u8 = undefined;
    var out = std.fs.File.stdout().writer(&buffer);
    try out.interface.print("{d:.3}\n", .{(Circle{ .radius = 2 }).area()});
    try out.interface.flush();
}
