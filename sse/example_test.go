package sse_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/ocsigo/comet/sse"
)

func ExampleEvent_AppendText() {
	e := sse.Event{ID: "7", Name: "chat", Data: []byte("hello\nworld")}
	text, err := e.AppendText(nil)
	if err != nil {
		log.Fatal(err)
	}
	os.Stdout.Write(text)
	// Output:
	// id: 7
	// event: chat
	// data: hello
	// data: world
}

// One event for two readers: it is made once, and each reader's batch gives it
// the id by which that reader will come back.
func ExampleBatch() {
	frame, err := sse.NewFrame("chat", []byte(`{"text":"hello"}`))
	if err != nil {
		log.Fatal(err)
	}
	var ada, ben sse.Batch
	ada.Frame([]byte("a1"), frame)
	ada.Event([]byte("a2"), "unread", []byte("3")) // for her alone: no frame
	ben.Frame([]byte("b8"), frame)

	fmt.Printf("To Ada, %d events, %d bytes:\n", ada.Events(), ada.Len())
	os.Stdout.Write(ada.Bytes())
	fmt.Println("To Ben:")
	os.Stdout.Write(ben.Bytes())
	// Output:
	// To Ada, 2 events, 73 bytes:
	// id: a1
	// event: chat
	// data: {"text":"hello"}
	//
	// id: a2
	// event: unread
	// data: 3
	//
	// To Ben:
	// id: b8
	// event: chat
	// data: {"text":"hello"}
}

// One large event for two readers of a compressed stream: it is compressed once,
// and each reads it after an id of its own.
func ExampleGzip() {
	compressor := sse.Gzip()
	frame, err := sse.NewFrame("page", bytes.Repeat([]byte("all of the news "), 1000))
	if err != nil {
		log.Fatal(err)
	}
	for _, id := range []string{"a1", "b8"} {
		encoder := compressor.NewEncoder() // one for each event stream
		var batch sse.Batch
		batch.ResetFor(encoder)
		batch.Frame([]byte(id), frame)
		batch.End()

		plain, err := gzip.NewReader(bytes.NewReader(batch.Bytes()))
		if err != nil {
			log.Fatal(err)
		}
		for e, err := range sse.Read(plain) {
			fmt.Println(e.ID, e.Name, len(e.Data), err, len(batch.Bytes()) < 200)
		}
	}
	// Output:
	// a1 page 16000 <nil> true
	// b8 page 16000 <nil> true
}

func ExampleRead() {
	body := strings.NewReader(": welcome\n\nid: 1\nevent: chat\ndata: hello\n\ndata: still here\n\ndata: cut off")
	for e, err := range sse.Read(body) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%q after id %q: %s\n", e.Name, e.ID, e.Data)
	}
	// Output:
	// "chat" after id "1": hello
	// "" after id "1": still here
}

// A client goes on where its stream broke off: it waits as long as the server
// asked for, sends the last event id, and hands both to the next reader.
func ExampleReader() {
	var last sse.ReaderConfig
	for _, body := range []string{"retry: 250\n\nid: 1\ndata: one\n\nid: 2\ndata: tw", "id: 2\ndata: two\n\n"} {
		fmt.Printf("wait %v, send Last-Event-ID %q\n", last.Retry, last.LastEventID)
		r := sse.NewReader(strings.NewReader(body), last)
		for e, err := r.Next(); err == nil; e, err = r.Next() {
			fmt.Printf("%s: %s\n", e.ID, e.Data)
		}
		last.LastEventID, last.Retry = r.LastEventID(), r.Retry()
	}
	// Output:
	// wait 0s, send Last-Event-ID ""
	// 1: one
	// wait 250ms, send Last-Event-ID "1"
	// 2: two
}
