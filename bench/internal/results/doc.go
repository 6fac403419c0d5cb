// Package results makes a table and a plot of samples: medians over the runs,
// everything beside everything else.
package results
