suppressPackageStartupMessages({
  library(data.table)
  library(dplyr)
  library(ggplot2)
  library(MASS)
})

cars <- mtcars |> group_by(cyl) |> summarise(count = n())
cat(cars$count, "\n")
cat(data.table(x = 1:4)[x > 2, sum(x)], "\n")
print(ggplot(mtcars, aes(wt, mpg)) + geom_point())
plot(1:10)
cat(list.files("/workspace/.pictures"), "\n")
