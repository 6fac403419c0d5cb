//go:build !unix

package redistest

import "os"

// There is no redis-server for these systems; the package only has to compile.
var terminate = os.Kill

func pause(*os.Process)  {}
func resume(*os.Process) {}
