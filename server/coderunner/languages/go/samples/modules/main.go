package main

import "fmt"

func main() {
	fmt.Printf("%.3f\n", area(2))
}
