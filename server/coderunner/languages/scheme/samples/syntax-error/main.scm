(if #t
    (display "never\n")
