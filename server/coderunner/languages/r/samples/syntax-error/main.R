if (TRUE) {
  cat("never\n"
}
