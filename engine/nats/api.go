package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ocsigo/comet/engine"
)

// The headers of stored messages. Comet's own are few and short, because every
// entry carries them.
const (
	headerTag     = "Comet-Tag"     // of an entry, in base 36
	headerGenesis = "Comet-Genesis" // this message is a log's genesis and no entry
	headerGone    = "Comet-Gone"    // what had this subject was deleted
	headerTTL     = "Comet-TTL"     // of a record, in milliseconds
	headerError   = "Comet-Error"   // of a reply between nodes

	headerMsgID   = "Nats-Msg-Id"
	headerExpect  = "Nats-Expected-Last-Subject-Sequence"
	headerMsgTTL  = "Nats-TTL"
	headerMarker  = "Nats-Marker-Reason"
	headerSubject = "Nats-Subject"
	headerSeq     = "Nats-Sequence"
	headerTime    = "Nats-Time-Stamp"
	headerLast    = "Nats-Last-Sequence"
	headerPending = "Nats-Num-Pending"
	headerUpTo    = "Nats-UpTo-Sequence"
	headerStatus  = "Status"
)

// attempt bounds one request of one server: an answer that takes longer is that of
// a leader which is gone.
const attempt = 2 * time.Second

// What the servers' API answers, as far as it matters here.
var (
	errNoMessage = errors.New("no such message")
	errNoStream  = errors.New("no such stream")
	errConflict  = errors.New("the subject has moved on")
	errNotSent   = fmt.Errorf("%w: not connected, or nobody there to take it", engine.ErrUnavailable)
	errNoAnswer  = fmt.Errorf("%w: no answer", engine.ErrUnknown)
)

// apiError is how a server says no.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (a *apiError) err() error {
	switch a.ErrCode {
	case 10037:
		return errNoMessage
	case 10059:
		return errNoStream
	case 10071, 10164:
		return errConflict
	}
	return fmt.Errorf("%w: the server says %q (%d)", engine.ErrUnavailable, a.Description, a.ErrCode)
}

// A message is one that JetStream keeps.
type message struct {
	subject string
	seq     uint64
	prev    uint64 // of the same answer or subject, where the server said it
	at      time.Time
	header  natsgo.Header
	data    []byte
}

func (m *message) tag() uint32 {
	tag, _ := strconv.ParseUint(m.header.Get(headerTag), 36, 32)
	return uint32(tag)
}

// gone reports that the message says that what had its subject is no more.
func (m *message) gone() bool {
	return m.header.Get(headerGone) != "" || m.header.Get(headerMarker) != ""
}

// parse reads what a direct get or a republished message says of itself.
func parse(msg *natsgo.Msg) (*message, error) {
	h := msg.Header
	seq, err := strconv.ParseUint(h.Get(headerSeq), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: a message without its sequence", engine.ErrUnavailable)
	}
	at, err := time.Parse(time.RFC3339Nano, h.Get(headerTime))
	if err != nil {
		return nil, fmt.Errorf("%w: a message without its time", engine.ErrUnavailable)
	}
	prev, _ := strconv.ParseUint(h.Get(headerLast), 10, 64)
	return &message{subject: h.Get(headerSubject), seq: seq, prev: prev, at: at, header: h, data: msg.Data}, nil
}

// request sends one request and waits for one reply, at most for one attempt.
// errNotSent: it was certainly not heard. errNoAnswer: nobody knows.
func request(ctx context.Context, conn *natsgo.Conn, msg *natsgo.Msg) (*natsgo.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	reply, err := conn.RequestMsgWithContext(ctx, msg)
	switch {
	case err == nil:
		return reply, nil
	case errors.Is(err, natsgo.ErrNoResponders), errors.Is(err, natsgo.ErrReconnectBufExceeded):
		return nil, errNotSent
	case errors.Is(err, natsgo.ErrMaxPayload):
		return nil, fmt.Errorf("%w: over the server's max_payload", engine.ErrTooLarge)
	}
	return nil, errNoAnswer
}

// ask is request for a question that changes nothing: unanswered is unavailable.
func ask(ctx context.Context, conn *natsgo.Conn, subject string, question any) (*natsgo.Msg, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	reply, err := request(ctx, conn, &natsgo.Msg{Subject: subject, Data: body})
	if errors.Is(err, errNoAnswer) {
		err = fmt.Errorf("%w: no answer", engine.ErrUnavailable)
	}
	return reply, err
}

// unheard is how long a publish that nobody hears is tried again.
const unheard = time.Second

// publish stores a message and returns its sequence, once the stream's leader says
// that it is stored as safely as the stream's replicas allow. Nobody hears while a
// stream elects its leader, nor until this node's server has learned who it is: then
// it certainly was not stored, and is sent again.
func publish(ctx context.Context, conn *natsgo.Conn, msg *natsgo.Msg) (seq uint64, err error) {
	deadline := time.Now().Add(unheard)
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		seq, err = publishOnce(ctx, conn, msg)
		if !errors.Is(err, errNotSent) || time.Now().After(deadline) || pause(ctx, wait) != nil {
			return seq, err
		}
	}
}

func publishOnce(ctx context.Context, conn *natsgo.Conn, msg *natsgo.Msg) (seq uint64, err error) {
	reply, err := request(ctx, conn, msg)
	if err != nil {
		return 0, err
	}
	var ack struct {
		Error *apiError `json:"error"`
		Seq   uint64    `json:"seq"`
	}
	if err := json.Unmarshal(reply.Data, &ack); err != nil {
		return 0, errNoAnswer
	}
	if ack.Error != nil {
		return 0, ack.Error.err()
	}
	return ack.Seq, nil
}

// expecting has the message stored only as the next on its subject after seq.
func expecting(msg *natsgo.Msg, seq uint64) *natsgo.Msg {
	msg.Header.Set(headerExpect, strconv.FormatUint(seq, 10))
	return msg
}

// question selects messages of a stream.
type question struct {
	Seq       uint64   `json:"seq,omitempty"`
	Last      string   `json:"last_by_subj,omitempty"`
	Next      string   `json:"next_by_subj,omitempty"`
	Batch     int      `json:"batch,omitempty"`
	MaxBytes  int      `json:"max_bytes,omitempty"`
	MultiLast []string `json:"multi_last,omitempty"`
}

// get asks the stream's leader for one message.
func get(ctx context.Context, conn *natsgo.Conn, stream string, q question) (*message, error) {
	reply, err := ask(ctx, conn, "$JS.API.STREAM.MSG.GET."+stream, q)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error   *apiError `json:"error"`
		Message *struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
	}
	if answer.Error != nil {
		return nil, answer.Error.err()
	}
	m := answer.Message
	if m == nil {
		return nil, errNoMessage
	}
	header := natsgo.Header{}
	if len(m.Header) > 0 {
		if header, err = natsgo.DecodeHeadersMsg(m.Header); err != nil {
			return nil, fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
		}
	}
	return &message{subject: m.Subject, seq: m.Seq, at: m.Time, header: header, data: m.Data}, nil
}

// purge removes all messages on the subjects of a filter.
func purge(ctx context.Context, conn *natsgo.Conn, stream, filter string) error {
	reply, err := ask(ctx, conn, "$JS.API.STREAM.PURGE."+stream, struct {
		Filter string `json:"filter"`
	}{filter})
	if err != nil {
		return err
	}
	var answer struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
	}
	if answer.Error != nil {
		return answer.Error.err()
	}
	return nil
}

// A page is what one direct get of many messages answers. Any replica may answer,
// and one that is behind does not know it.
type page struct {
	messages []*message
	pending  uint64 // how many more there are
	upTo     uint64 // of multi_last: the replica's last sequence
}

// direct asks any replica for many messages at once. The messages are of one
// moment of that replica. None is no error.
func direct(ctx context.Context, conn *natsgo.Conn, stream string, q question) (*page, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	inbox := conn.NewInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		return nil, errNotSent
	}
	defer sub.Unsubscribe()
	if err := conn.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, body); err != nil {
		return nil, errNotSent
	}
	p := &page{}
	var last uint64
	for {
		msg, err := next(ctx, sub)
		if err != nil {
			return nil, err
		}
		switch status := msg.Header.Get(headerStatus); {
		case status == "404":
			return p, nil
		case status == "204":
			p.pending, _ = strconv.ParseUint(msg.Header.Get(headerPending), 10, 64)
			p.upTo, _ = strconv.ParseUint(msg.Header.Get(headerUpTo), 10, 64)
			if end, err := strconv.ParseUint(msg.Header.Get(headerLast), 10, 64); err != nil || end != last {
				return nil, fmt.Errorf("%w: an answer with a hole", engine.ErrUnavailable)
			}
			return p, nil
		case status != "":
			return nil, fmt.Errorf("%w: the server says %q", engine.ErrUnavailable, strings.TrimSpace(status+" "+msg.Header.Get("Description")))
		}
		m, err := parse(msg)
		if err != nil {
			return nil, err
		}
		if m.prev != last {
			return nil, fmt.Errorf("%w: an answer with a hole", engine.ErrUnavailable)
		}
		last = m.seq
		p.messages = append(p.messages, m)
	}
}

// lasts returns the newest message on each subject that has one, of a replica that has
// the stream up to a sequence. That there is none may be said by one that has not.
func lasts(ctx context.Context, conn *natsgo.Conn, stream string, subjects []string, upTo uint64) ([]*message, error) {
	deadline := time.Now().Add(attempt)
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		p, err := direct(ctx, conn, stream, question{MultiLast: subjects})
		if err != nil {
			return nil, err
		}
		if p.upTo >= upTo || len(p.messages) == 0 { // an empty answer has no sequence
			return p.messages, nil
		}
		if time.Now().After(deadline) {
			return nil, behind(stream, upTo)
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

func behind(stream string, upTo uint64) error {
	return fmt.Errorf("%w: stream %s up to %d", engine.ErrStale, stream, upTo)
}

func next(ctx context.Context, sub *natsgo.Subscription) (*natsgo.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	msg, err := sub.NextMsgWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: no answer from a replica", engine.ErrUnavailable)
	}
	return msg, nil
}
