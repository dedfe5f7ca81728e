package main

import "fmt"

func main() {
	fmt.Println("before")
	var numbers []int
	fmt.Println(numbers[3])
}
