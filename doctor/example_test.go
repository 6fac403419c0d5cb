package doctor_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/ocsigo/comet/doctor"
)

// A test of a deployment: ask through the proxy, as a browser would, and read what is
// wrong and how to mend it. The command comet-doctor does the same.
func ExampleCheck() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	measured, err := doctor.Check(ctx, doctor.Options{URL: "https://www.example.org/doctor", Idle: true})
	if err != nil {
		log.Fatal(err) // nothing was measured
	}
	findings := doctor.Judge(measured)
	doctor.Report(os.Stdout, measured, findings)
	fmt.Println(doctor.Healthy(findings))
}
