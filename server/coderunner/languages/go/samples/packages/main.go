package main

import (
	"fmt"

	"github.com/google/uuid"
	"github.com/samber/lo"
	"golang.org/x/exp/constraints"
)

func largest[T constraints.Ordered](values ...T) T {
	return lo.Reduce(values, func(most T, value T, _ int) T { return max(most, value) }, values[0])
}

func main() {
	fmt.Println(len(uuid.New().String()), largest(2, 7, 1), largest("Ada", "Grace"))
}
