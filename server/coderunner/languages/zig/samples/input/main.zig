const std = @import("std");

pub fn main() !void {
    var in_buffer: [4096]u8 = undefined;
    var in = std.fs.File.stdin().reader(&in_buffer);
    var out_buffer: [4096]u8 = undefined;
    var out = std.fs.File.stdout().writer(&out_buffer);
    try out.interface.writeAll("What is your name? ");
    try out.interface.flush();
    const name = try in.interface.takeDelimiterExclusive('\n');
    try out.interface.print("Hello, {s}!\n", .{name});
    try out.interface.flush();
}
