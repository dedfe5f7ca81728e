const std = @import("std");

pub fn main() !void {
    var buffer: [256]u8 = undefined;
    var out = std.fs.File.stdout().writer(&buffer);
    for ([_][]const u8{ "Grüße", "Привет", "こんにちは", "🙂" }) |word| {
        try out.interface.print("{s} {d}\n", .{ word, try std.unicode.utf8CountCodepoints(word) });
    }
    try out.interface.flush();
}
