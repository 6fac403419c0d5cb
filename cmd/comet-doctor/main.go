// Comet-doctor tells whether event streams arrive through all that lies between
// this machine and a Comet, and if not, what to change:
//
//	go run github.com/ocsigo/comet/cmd/comet-doctor@latest https://app.example.com/doctor
//
// The app has to serve comet.Doctor() at the URL. The exit status is 0 when all is
// well, 1 for a fault, and 2 when that could not be told.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"

	"github.com/ocsigo/comet/doctor"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// fields are the headers of the flag -H.
type fields http.Header

func (f fields) String() string { return "" }

func (f fields) Set(text string) error {
	name, value, ok := strings.Cut(text, ":")
	if !ok || strings.TrimSpace(name) == "" {
		return fmt.Errorf("a header is written as 'Name: value'")
	}
	http.Header(f).Add(strings.TrimSpace(name), strings.TrimSpace(value))
	return nil
}

func run(ctx context.Context, args []string, out, errs io.Writer) (status int) {
	header := fields{}
	flags := flag.NewFlagSet("comet-doctor", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.Var(header, "H", "a `header` to send, as 'Cookie: session_id=…'; may be repeated")
	idle := flags.Bool("idle", true, "measure silence too, which takes two heartbeats of the site")
	asJSON := flags.Bool("json", false, "write what was measured and found as JSON")
	flags.Usage = func() {
		fmt.Fprintln(errs, "usage: comet-doctor [flags] URL\n\nURL is where the app serves comet.Doctor(), as a browser would ask for it.")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() != 1 {
		flags.Usage()
		return 2
	}
	m, err := doctor.Check(ctx, doctor.Options{URL: flags.Arg(0), Header: http.Header(header), Idle: *idle})
	if err != nil {
		fmt.Fprintln(errs, "comet-doctor:", err)
		return 2
	}
	found := doctor.Judge(m)
	if *asJSON {
		text, _ := json.MarshalIndent(map[string]any{"measured": m, "found": found}, "", "  ") // of plain fields
		fmt.Fprintln(out, string(text))
	} else {
		doctor.Report(out, m, found)
	}
	if !doctor.Healthy(found) {
		return 1
	}
	return 0
}
