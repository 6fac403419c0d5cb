// Package e2e looks at Comet through real browsers: Chromium, Firefox and WebKitGTK.
//
// The tests build and start the programs as a person would, open them in a browser and look at the page. They have a module
// of their own so that the library's go.mod stays free of what only they need.
//
//	cd e2e && go test ./...
//
// Where a browser is missing its tests are skipped, and say so; COMET_BROWSER=required makes that a failure, for machines
// that are meant to have them (Debian: apt-get install chromium chromium-headless-shell firefox-esr webkit2gtk-driver xvfb). Screenshots are left in
// artifacts/.
//
// What a test is made of:
//
//   - newSession and newSessionIn give a session, its open a tab; eval, until, click, write and navigate are done to that.
//     inEachBrowser runs a test in Chromium, Firefox and WebKit: the leader's death and the back-forward cache; inChromium in that
//     alone, which keeps its tabs in processes apart. inEachEngine, inWebKitToo and inShell have Chromium without windows
//     (chromium-headless-shell, of the same source), at a third of the cost, with one process for all tabs of a session, as Firefox
//     has here: twelve tabs on one socket; besides is for what mostly waits. All browsers are
//     started once, for all tests; each serves a few of them at once, in windows that are used again, and how long they took
//     is printed at the end.
//   - until waits for a condition in the page; it is the page that looks.
//   - start runs an example, serve a server of this package, each as a process of its own that can be killed and
//     restarted on its port. reserve gives a port that refuses connections.
//   - newFront stands before a server as a TCP port that refuses, answers 503, cuts or stalls; newProxy as an HTTP proxy.
package e2e
