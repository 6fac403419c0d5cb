package wheel

import (
	"testing"
	"testing/synctest"
	"time"
)

func (w *Wheel) isArmed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.armed != never
}

// Rule 13: an empty wheel has no runtime timer armed, however it became empty.
func TestEmptyWheelIsAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(time.Second)
		if w.isArmed() {
			t.Error("armed when new")
		}
		timer := w.After(time.Hour, func() {})
		if !w.isArmed() {
			t.Error("not armed with a timer pending")
		}
		timer.Stop()
		if w.isArmed() {
			t.Error("armed after the last Stop")
		}
		timer.Reset(time.Minute)
		time.Sleep(time.Hour)
		synctest.Wait()
		if w.isArmed() {
			t.Error("armed after the last call")
		}
		timer.Reset(time.Minute)
		w.Close()
		if w.isArmed() {
			t.Error("armed after Close")
		}
	})
}

// A far timer does not wake the process every tick: once a level on its way down.
func TestFarTimerSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(time.Second)
		defer w.Close()
		w.After(64*64*time.Second+2*64*time.Second+3*time.Second, func() {})
		for _, want := range []uint64{64 * 64, 64*64 + 2*64, 64*64 + 2*64 + 3, never} {
			w.mu.Lock()
			got := w.armed
			w.mu.Unlock()
			if got != want {
				t.Fatalf("armed for tick %d, want %d", got, want)
			}
			if want != never {
				time.Sleep(time.Duration(want)*time.Second - time.Since(w.start))
				synctest.Wait()
			}
		}
	})
}
