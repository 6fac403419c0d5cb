package wire_test

// best is the way of a bare socket on this system.
var best = way{
	name: "takeover", hears: true, deadlines: true, identity: true,
	refuses: true, outlives: true, hijacks: true, together: true,
}
