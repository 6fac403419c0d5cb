package results

import (
	"fmt"
	"strings"
)

// The lines between which a README's figures stand.
const (
	begin = "<!-- figures: written by cmd/table -->"
	end   = "<!-- end of figures -->"
)

// Empty is the README of a directory that has none.
const Empty = begin + "\n" + end + "\n"

// Insert puts text between the markers of a README.
func Insert(readme, text string) (string, error) {
	before, rest, ok1 := strings.Cut(readme, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return "", fmt.Errorf("the README has no lines %q and %q, in this order, for the figures to stand between", begin, end)
	}
	return before + begin + "\n\n" + strings.TrimSpace(text) + "\n\n" + end + after, nil
}
