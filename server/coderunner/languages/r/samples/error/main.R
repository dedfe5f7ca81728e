cat("before\n")
stop("something is wrong")
cat("never\n")
