const { area } = require("./shapes/circle.js");

console.log(area(2).toFixed(3));
