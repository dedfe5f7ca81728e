// Compiled with each program: a goroutine's stack that is full is told with its place. Go's own limit is a GB, before
// which a session's memory is full.

package main

import _ "unsafe"

//go:linkname setMaxStack runtime/debug.setMaxStack
func setMaxStack(int) int

func init() { setMaxStack(128 << 20) }
