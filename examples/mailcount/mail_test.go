package main

import (
	"context"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/comettest"
)

// serve runs an office until the test ends. No mails arrive by themselves.
func serve(t *testing.T) (*office, *comettest.Browser) {
	t.Helper()
	o, err := newOffice()
	if err != nil {
		t.Fatal(err)
	}
	return o, comettest.Serve(t, o.app(), o.site).Browser()
}

// connect does what the page's script does, for one who only looks at the count.
func connect(tab *comettest.Tab) {
	tab.Ignore("mail", "tally")
	tab.Connect(tab.Page.Find(`<meta name="comet" content="([^"]*)">`))
}

// Rule 9: one count when the tab connects, one for each time it asks, none for anything else.
func TestCountedWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, browser := serve(t)
		o.arrive(3)
		tab := browser.Open("/")
		o.arrive(2)
		if n := o.count(Tally{}).Counted; n != 0 {
			t.Fatalf("counted %d times before anybody connected", n)
		}
		connect(tab)
		if got := comettest.Next[Count](tab, "unread"); got.Unread != 5 || got.Arrived != 5 {
			t.Errorf("heard %+v at first, want 5 unread of 5", got)
		}
		o.arrive(4)
		tab.Nothing()
		tab.Pull("unread")
		if got := comettest.Next[Count](tab, "unread"); got.Unread != 9 {
			t.Errorf("heard %+v when it asked, want 9 unread", got)
		}
		browser.Post("/read", nil).Want(204)
		o.arrive(1)
		tab.Pull("unread")
		if got := comettest.Next[Count](tab, "unread"); got.Unread != 1 || got.Arrived != 10 {
			t.Errorf("heard %+v after all were read and one came, want 1 unread of 10", got)
		}
		time.Sleep(time.Hour)
		tab.Nothing()
		tab.Close()
		o.arrive(100)
		synctest.Wait()
		if n := o.count(Tally{}).Counted; n != 3 {
			t.Errorf("counted %d times, want 3: once at first and once for each time it asked", n)
		}
	})
}

// A tab that slept is told how many there are now: it asks by coming back, once.
func TestCountedWhenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, browser := serve(t)
		tab := browser.Open("/")
		connect(tab)
		comettest.Next[Count](tab, "unread")
		tab.Offline()
		time.Sleep(15 * time.Minute)
		o.arrive(7) // not in the moment in which the tab comes back, and is counted for
		time.Sleep(15 * time.Minute)
		tab.Online()
		if got := comettest.Next[Count](tab, "unread"); got.Unread != 7 {
			t.Errorf("heard %+v in the morning, want 7 unread", got)
		}
		tab.Nothing()
	})
}

// The script's way of asking, a body of plain text, is as good as a form.
func TestAskedInPlainText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, browser := serve(t)
		tab := browser.Open("/")
		connect(tab)
		comettest.Next[Count](tab, "unread")
		tab.Do("POST", tab.URL(), url.Values{"pull": {"unread"}}.Encode(), "Content-Type", "text/plain;charset=UTF-8").Want(200)
		comettest.Next[Count](tab, "unread")
	})
}

func TestReceive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, browser := serve(t)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			o.receive(ctx, time.Second)
		}()
		time.Sleep(4*time.Second + time.Millisecond) // the fourth brings five
		cancel()
		<-done
		var got Tally
		browser.Get("/tally").Want(200).JSON(&got)
		if got.Arrived != 8 || got.Counted != 0 {
			t.Errorf("the tally is %+v, want 8 mails and no count", got)
		}
	})
}

func TestMailboxIsBounded(t *testing.T) {
	var m mailbox
	for range capacity + 10 {
		m.add(time.Now())
	}
	if n := m.unread(); n != capacity {
		t.Errorf("%d mails are kept, want %d", n, capacity)
	}
}
