source("shapes/circle.R")

cat(sprintf("%.3f\n", circle_area(2)))
