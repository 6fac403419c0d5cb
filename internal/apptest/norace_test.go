//go:build !race

package apptest_test

const raced = false
