package doctor

import _ "embed"

// Page is what comet.Doctor shows, and Script what runs in it: it measures as Check
// does, in the browser, and has the server judge.
var (
	//go:embed page/doctor.html
	Page string
	//go:embed page/doctor.js
	Script string
)
