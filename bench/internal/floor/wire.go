package floor

import (
	"fmt"
	"strconv"
	"time"
)

// head is the response's, as Fiber and Comet write it.
func head(now time.Time) []byte {
	return []byte("HTTP/1.1 200 OK\r\n" +
		"Date: " + now.UTC().Format("Mon, 02 Jan 2006 15:04:05") + " GMT\r\n" +
		"Content-Type: text/event-stream\r\n" +
		"Cache-Control: no-cache, no-store, no-transform\r\n" +
		"X-Accel-Buffering: no\r\n" +
		"Transfer-Encoding: chunked\r\n" +
		"Connection: close\r\n\r\n")
}

func appendChunk(dst, data []byte) []byte {
	dst = strconv.AppendUint(dst, uint64(len(data)), 16)
	dst = append(dst, "\r\n"...)
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}

// event is one event, whole.
func event(id, name string, data []byte) []byte {
	b := make([]byte, 0, len(id)+len(name)+len(data)+24)
	b = append(append(append(b, "id: "...), id...), '\n')
	b = append(append(append(b, "event: "...), name...), '\n')
	b = append(append(append(b, "data: "...), data...), '\n')
	return append(b, '\n')
}

// retry is Comet's default; it jitters its own by a quarter.
const retry = "retry: 1000\n\n"

// hello is the greeting of a stream that hears the channels of the shape, after
// the places in seqs.
func (s *Server) hello(number int, id string, seqs []uint64) []byte {
	data := fmt.Appendf(nil, `{"version":1,"heartbeat":%d`, s.Heartbeat.Milliseconds())
	if s.Config.Shape == Private {
		data = fmt.Appendf(data, `,"processes":[{"process":"%022d","k":0,"generation":1,"channels":[{"channel":"load"}]}]`, number)
	} else {
		for i, seq := range seqs {
			separator := ","
			if i == 0 {
				separator = `,"channels":[`
			}
			data = fmt.Appendf(data, `%s{"channel":"c%d","event":"load","position":"%s.%s"}`, separator, i, s.Epoch, number36(seq))
		}
		data = append(data, ']')
	}
	return append([]byte(retry), event(id, "comet:hello", append(data, '}'))...)
}

func number36(n uint64) string { return strconv.FormatUint(n, 36) }

// tag stands for the address's, with which every id begins.
const tag = "_000"

// cursor is the id of a stream that has come as far as seqs: the channels that
// moved since all were at 0.
func cursor(seqs []uint64) string {
	b := []byte(tag)
	for i, seq := range seqs {
		if seq == 0 {
			continue
		}
		b = append(b, '~')
		b = strconv.AppendInt(b, int64(i), 36)
		b = append(b, '.')
		b = strconv.AppendUint(b, seq, 36)
	}
	if len(b) == len(tag) {
		b = append(b, "~0.0"...)
	}
	return string(b)
}

// privateCursor is the id of a stream that has heard so many private messages.
func privateCursor(number uint64) string { return tag + "~-1." + number36(number) }
