package main

import (
	"fmt"
	"unicode/utf8"
)

func main() {
	for _, word := range []string{"Grüße", "Привет", "こんにちは", "🙂"} {
		fmt.Println(word, utf8.RuneCountInString(word))
	}
}
