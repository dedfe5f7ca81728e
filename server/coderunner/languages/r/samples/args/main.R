arguments <- commandArgs(trailingOnly = TRUE)
for (number in seq_along(arguments)) {
  cat(number, " ", arguments[number], "\n", sep = "")
}
