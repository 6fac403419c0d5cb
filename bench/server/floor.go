package main

import (
	"github.com/ocsigo/comet/bench/internal/control"
	"github.com/ocsigo/comet/bench/internal/floor"
)

// floorServer is the floor.
type floorServer struct{ *floor.Server }

func newFloor(c config) (target, error) {
	shape, ok := map[string]floor.Shape{
		modeSite: floor.Site, modeMany: floor.Site, modePrivate: floor.Private,
	}[c.mode]
	if !ok {
		return nil, errMode(c.mode)
	}
	s, err := floor.Listen(floor.Config{Shape: shape, Channels: c.channels, Heartbeat: keepAlive, Keep: history})
	return floorServer{s}, err
}

func (f floorServer) start() (control.Ready, error) {
	ready := control.Ready{Addr: f.Addr(), Path: "/stream?ch=0", Resume: "id"}
	if f.Shape() == floor.Private {
		ready.Path = "/stream?ch=%d"
	}
	f.Serve()
	return ready, nil
}

func (f floorServer) publish(channel int, data []byte) error { return f.Publish(channel, data) }
