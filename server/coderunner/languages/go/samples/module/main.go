package main

import (
	"fmt"

	"example.com/area/shapes"
)

func main() {
	fmt.Printf("%.3f\n", shapes.Circle{Radius: 2}.Area())
}
