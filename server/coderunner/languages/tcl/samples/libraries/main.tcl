package require json
package require md5
package require struct::list

puts [dict get [::json::json2dict {{"a": 1, "b": [2, 3]}}] b]
puts [::md5::md5 -hex abc]
puts [::struct::list reverse {1 2 3}]
