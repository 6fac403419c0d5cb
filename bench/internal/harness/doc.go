// Package harness starts servers, puts a crowd before them, and measures: one
// case after the other, in a process of its own for each row of the table.
package harness
