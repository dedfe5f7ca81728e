package main

import "math"

func area(radius float64) float64 {
	return math.Pi * radius * radius
}
