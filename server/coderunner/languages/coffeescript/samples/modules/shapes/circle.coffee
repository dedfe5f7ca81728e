class Circle
  constructor: (@radius) ->

  area: -> Math.PI * @radius ** 2

module.exports = Circle
