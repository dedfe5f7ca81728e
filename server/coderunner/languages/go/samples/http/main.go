package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	http.HandleFunc("GET /{drink}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "You asked for /%s", r.PathValue("drink"))
	})
	go http.Serve(listener, nil)
	answer, err := http.Get("http://" + listener.Addr().String() + "/tea")
	if err != nil {
		panic(err)
	}
	text, _ := io.ReadAll(answer.Body)
	fmt.Println(answer.StatusCode, string(text))
}
