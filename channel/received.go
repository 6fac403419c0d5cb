package channel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/ocsigo/comet/scope"
)

// A Refusal is an error that the page may read: what the function given to
// CreateDuplex says of a value that it does not take.
type Refusal struct{ Message string }

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

// Refuse returns a *Refusal; format and args are fmt.Sprintf's.
func Refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// receive opens an inbox whose values go to take, decoded and valid.
func receive[T any](o scope.Owner, c ReceiveConfig[T], hearers bool, take func(context.Context, []arrival[T]) (int, error), stop func(error)) (*scope.Inbox, error) {
	name := strings.Clone(c.Name)
	if err := errors.Join(checkOwner(o), receivable(reflect.TypeFor[T]())); err != nil {
		return nil, ofInbox(name, err)
	}
	inbox, err := scope.Receive(o, scope.InboxSpec{
		Name: name, Rate: c.Rate, Burst: c.Burst, MaxValue: c.MaxValue, Hearers: hearers, Stop: stop,
		Take: func(ctx context.Context, s scope.Sent) (int, error) {
			if c.Allow != nil && c.Allow(ctx, s.Reader) != nil {
				return 0, &scope.CommandError{Code: "refused", Message: "this reader may not send here"}
			}
			values, err := arrivals(s, c.Validate)
			if err != nil {
				return 0, err
			}
			return take(ctx, values)
		},
	})
	return inbox, ofInbox(name, err)
}

// ofInbox says of which inbox err speaks, unless it is io.EOF or says so already.
func ofInbox(name string, err error) error {
	if err == nil || err == io.EOF || strings.Contains(err.Error(), name) {
		return err
	}
	return fmt.Errorf("inbox %s: %w", name, err)
}

// receivable refuses types that no JSON can become a value of; what lies deeper
// in t is told by each value.
func receivable(t reflect.Type) error {
	err := JSON.Check(t)
	if t.Kind() == reflect.Interface && t.NumMethod() > 0 {
		err = fmt.Errorf("no JSON becomes a %v: name a type that encoding/json can fill", t)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadConfig, err)
	}
	return nil
}

// arrivals reads the values of one command, all or none.
func arrivals[T any](s scope.Sent, validate func(T) error) ([]arrival[T], error) {
	values := make([]arrival[T], len(s.Values))
	for i, data := range s.Values {
		v, err := decodeStrictly[T](data)
		if err == nil && validate != nil {
			err = validate(v)
		}
		if err != nil {
			return nil, invalid(i, err)
		}
		values[i] = arrival[T]{Received[T]{Value: v, Process: s.Process, Reader: s.Reader}, len(data), s.ID(i)}
	}
	return values, nil
}

// invalid tells the page what is wrong with value i.
func invalid(i int, err error) error {
	return &scope.CommandError{Code: "invalid", Value: i + 1, Message: err.Error()}
}

var jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()

// decodeStrictly reads exactly one JSON value, which has no field that T does not
// have. null is one where T can be nil, or reads JSON by itself: encoding/json
// would leave any other T as it is, and a page that sends nothing would have sent
// a zero.
func decodeStrictly[T any](data []byte) (v T, err error) {
	t := reflect.TypeFor[T]()
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) && !nillable(t) && !reflect.PointerTo(t).Implements(jsonUnmarshaler) {
		return v, fmt.Errorf("the value is null, where a %v is due", t)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return v, fmt.Errorf("the value is not what is taken here: %s", briefly(strings.TrimPrefix(err.Error(), "json: ")))
	}
	if _, err := dec.Token(); err != io.EOF {
		return v, errors.New("more than one JSON value: put each into a field value of its own")
	}
	return v, nil
}

// maxComplaint is how many bytes of what encoding/json says are told. It names the
// field, and a page may have sent any name: escaped it is four times as long.
const maxComplaint = 200

func briefly(complaint string) string {
	if len(complaint) <= maxComplaint {
		return complaint
	}
	return strings.ToValidUTF8(complaint[:maxComplaint], "") + "…"
}

func nillable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		return true
	}
	return false
}
