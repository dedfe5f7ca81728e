namespace eval shapes {
    proc circle_area {radius} {
        return [expr {acos(-1) * $radius ** 2}]
    }
}
