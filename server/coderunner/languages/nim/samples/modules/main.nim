import strutils
import shapes/circle

echo formatFloat(Circle(radius: 2).area, ffDecimal, 3)
