Circle = require "./shapes/circle"

console.log new Circle(2).area().toFixed 3
