package scope

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ocsigo/comet/engine"
)

// What stands in the way of an answer.
var (
	errDead = errors.New("the node is dead")
	errAway = errors.New("the node cannot be reached at the moment")
)

// ask asks another node once. errDead means that its record is no more; errAway
// that nobody knows. Where it is wasMoved, body is the node that has its
// processes.
func (n *node) ask(ctx context.Context, id string, request []byte) (what answered, body *unparcel, err error) {
	to := engine.Node{Prefix: n.name.Prefix, ID: id}
	if id == n.name.ID {
		return read(n.answer(ctx, request))
	}
	reply, err := n.cluster.Ask(ctx, to, request)
	if errors.Is(err, engine.ErrTooLarge) {
		return 0, nil, err
	}
	if err == nil {
		what, body, err = read(reply)
		if what != notNow {
			return what, body, err
		}
		err = errAway
	}
	return n.find(ctx, to, err)
}

func read(reply []byte) (answered, *unparcel, error) {
	if len(reply) == 0 {
		return notNow, &unparcel{bad: true}, errAway
	}
	return answered(reply[0]), &unparcel{rest: reply[1:]}, nil
}

// find looks at the record of a node that did not answer, because of why.
func (n *node) find(ctx context.Context, to engine.Node, why error) (answered, *unparcel, error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return 0, nil, fmt.Errorf("%w: %w", errAway, ctx.Err())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.patience()) // the question may have used up the time
	defer cancel()
	record, err := n.cluster.Record(ctx, to)
	if errors.Is(err, engine.ErrNoNode) {
		return 0, nil, errDead
	}
	if moved, ok := strings.CutPrefix(string(record), recordMoved); ok && err == nil && errors.Is(why, engine.ErrNoNode) {
		return wasMoved, &unparcel{rest: parcel(nil).text(moved)}, nil
	}
	return 0, nil, fmt.Errorf("%w: %v: %w", errAway, to, errors.Join(why, err))
}

// maxMoves is how often what was handed over is followed: each is a deployment
// while the tab was away.
const maxMoves = 16

// askWherever asks a node, or the one that has its processes now, and returns who
// answered.
func (n *node) askWherever(ctx context.Context, id string, request []byte) (what answered, body *unparcel, at string, err error) {
	for range maxMoves {
		what, body, err = n.ask(ctx, id, request)
		if err != nil || what != wasMoved {
			return what, body, id, err
		}
		id = body.text()
	}
	return 0, nil, id, fmt.Errorf("%w: its processes were moved %d times", errAway, maxMoves)
}

// neighbours returns the ids of the other nodes that live.
func (n *node) neighbours(ctx context.Context) ([]string, error) {
	records, err := n.cluster.Records(ctx, n.name.Prefix)
	if err != nil {
		return nil, err
	}
	var ids []string
	for id, record := range records {
		if id != n.name.ID && string(record) == recordLives {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
