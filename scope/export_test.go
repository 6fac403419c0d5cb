package scope

// What the first byte of a request between nodes is, for tests that lose some.
const (
	AskKnock  = byte(askKnock)
	AskAttach = byte(askAttach)
	AskNext   = byte(askNext)
	AskLeave  = byte(askLeave)
	AskStep   = byte(askStep)
	AskBoard  = byte(askBoard)
	AskAdopt  = byte(askAdopt)
)
