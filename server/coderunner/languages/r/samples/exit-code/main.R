cat("leaving with 7\n")
quit(status = 7)
