package main

import (
	"fmt"

	"example.com/required/shapes"
	"github.com/stretchr/testify/assert"
)

func main() {
	fmt.Print(shapes.Text(), assert.ObjectsAreEqual(1, 1), "\n")
}
