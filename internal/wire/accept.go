package wire

import "strings"

// weights are the content codings of an Accept-Encoding header, each with its
// weight in thousandths: 0 for one that is not accepted.
type weights map[string]int

// acceptedCodings reads the lines of Accept-Encoding (RFC 9110, sections 12.4.2
// and 12.5.3). Nothing said is nothing accepted but identity; a member that is
// malformed is taken for one that is not accepted.
func acceptedCodings(lines [][]byte) weights {
	w := weights{}
	for _, line := range lines {
		for member := range strings.SplitSeq(string(line), ",") {
			coding, params, _ := strings.Cut(member, ";")
			coding = strings.ToLower(strings.TrimSpace(coding))
			if coding == "x-gzip" {
				coding = "gzip"
			}
			if coding != "" {
				w[coding] = weight(params)
			}
		}
	}
	return w
}

// of is the weight of a coding, by its name or by the one for all the others.
func (w weights) of(coding string) int {
	if n, said := w[coding]; said {
		return n
	}
	return w["*"]
}

// weight reads "q=0.5" as 500, and nothing as 1000.
func weight(params string) int {
	params = strings.TrimSpace(params)
	if params == "" {
		return 1000
	}
	name, value, _ := strings.Cut(params, "=")
	if !strings.EqualFold(strings.TrimSpace(name), "q") {
		return 0
	}
	whole, fraction, _ := strings.Cut(strings.TrimSpace(value), ".")
	if len(fraction) > 3 || strings.Trim(fraction, "0123456789") != "" {
		return 0
	}
	thousandths := 0
	for _, digit := range (fraction + "000")[:3] {
		thousandths = thousandths*10 + int(digit-'0')
	}
	switch {
	case whole == "1" && thousandths == 0:
		return 1000
	case whole == "0":
		return thousandths
	}
	return 0
}
