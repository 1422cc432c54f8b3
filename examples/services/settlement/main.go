// Command settlement adds up the amounts of a day, tells the sum and ends.
package main

import (
	_ "embed"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
)

//go:embed VERSION
var version string

// settled gives the sum of amounts, in cents, or the one that is none.
func settled(amounts string) (int64, error) {
	var sum int64
	for _, amount := range strings.Fields(amounts) {
		whole, cents, _ := strings.Cut(amount, ".")
		value, err := strconv.ParseUint(whole+cents, 10, 32)
		if err != nil || len(cents) != 2 {
			return 0, fmt.Errorf("%q is no amount such as 12.50", amount)
		}
		sum += int64(value)
	}
	return sum, nil
}

func main() {
	sum, err := settled(os.Getenv("AMOUNTS"))
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("settlement %s: %d.%02d", strings.TrimSpace(version), sum/100, sum%100)
}
