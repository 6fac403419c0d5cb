// Package e2e drives the examples in a real browser.
//
// The tests build and start the programs as a person would, open them in Chromium and look at the page. They have a module
// of their own so that the library's go.mod stays free of what only they need.
//
//	cd e2e && go test ./...
//
// Without Chromium they are skipped, and say so; COMET_BROWSER=required makes that a failure, for machines that are meant
// to have one (Debian: apt-get install chromium). Screenshots are left in artifacts/.
package e2e
