local circle = require("shapes.circle")

print(string.format("%.3f", circle.area(2)))
