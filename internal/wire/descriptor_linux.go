package wire

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A descriptor is a file descriptor of a socket, and the only thing in this
// package that knows its number. Descriptors are reused: what is written to a
// number after it was closed reaches whoever was given it next, which is
// another person's stream. So every use of the number is counted, and this file
// alone is the proof that none comes too late:
//
//  1. The number comes from the kernel, in duplicate, for this descriptor only.
//  2. It is given to the kernel by use, destroy and the opening, nowhere else.
//  3. use counts itself before and after, and not at all once close was called.
//  4. close and the last use after it agree, by one atomic word, which of them
//     destroys. What is destroyed was closed and is not in use, now or ever.
//  5. Events of the kernel name it by number and generation, and are told to
//     the stream that has both (see poller). A late one is told to nobody.
//
// The zero value is a closed descriptor.
type descriptor struct {
	word       atomic.Uint32 // opened, until close; and how many uses are under way
	number     int32
	generation uint32
	set        *poller // where it is registered, from opening to destroy
}

const opened uint32 = 1 << 31

// watched is what the kernel tells of every socket, at its edges: that there is
// something to read, that the peer sends no more, and unasked that it is gone.
const watched = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET

// open duplicates the descriptor under c and registers it; s, whose d is, is told
// of events from now on. The socket stays open until both copies are closed.
// If it fails, nothing has happened.
func (d *descriptor) open(c syscall.Conn, s *taken) error {
	set, err := enter()
	if err != nil {
		return err
	}
	number, err := duplicate(c)
	if err != nil {
		set.leave()
		return fmt.Errorf("wire: duplicating a socket's descriptor: %w", err)
	}
	d.number, d.set = int32(number), set
	set.put(s)
	d.word.Store(opened)
	if err := d.control(unix.EPOLL_CTL_ADD, watched); err != nil {
		d.close()
		return fmt.Errorf("wire: registering a socket: %w", err)
	}
	return nil
}

// duplicate goes through Control, during which the original cannot be closed,
// and not through File, which would put both copies into blocking mode.
func duplicate(c syscall.Conn) (number int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(fd uintptr) {
		number, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if cerr != nil {
		return -1, cerr
	}
	return number, err
}

// use begins a use of the number, which done must end; false: it is closed.
func (d *descriptor) use() bool {
	for {
		w := d.word.Load()
		if w&opened == 0 {
			return false
		}
		if d.word.CompareAndSwap(w, w+1) {
			return true
		}
	}
}

func (d *descriptor) done() {
	if d.word.Add(^uint32(0)) == 0 { // closed meanwhile, and this was the last use
		d.destroy()
	}
}

// close makes every later use fail. The number goes back to the kernel now or,
// if it is in use, right after. A second close does nothing.
func (d *descriptor) close() {
	if d.word.And(^opened) == opened { // it was open, and not in use
		d.destroy()
	}
}

// destroy gives the number back and, before, all that goes by it: from close on
// it may be another stream's. A registration, too, would not go by itself while
// fasthttp's copy of the socket is open. destroy is reached once, for the word
// is 0 and stays so; and whatever close returns, the number is given back.
func (d *descriptor) destroy() {
	d.set.remove(d.number)
	_ = unix.EpollCtl(d.set.epoll, unix.EPOLL_CTL_DEL, int(d.number), nil)
	_ = unix.Close(int(d.number))
	d.set.leave()
}

// errClosed is what a closed descriptor answers.
const errClosed = unix.EBADF

// send gives the kernel p and returns how much it took; nothing, or less than
// all of it, is no error. It never blocks.
func (d *descriptor) send(p []byte) (n int, err error) {
	announce()
	n, err = d.transfer(unix.SYS_SENDTO, p, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if err == unix.EAGAIN {
		return 0, nil
	}
	return n, err
}

// receive fills p with what there is to read. It never blocks: without anything
// to read it returns unix.EAGAIN. At the end of what the peer sends n is 0.
func (d *descriptor) receive(p []byte) (n int, err error) {
	return d.transfer(unix.SYS_RECVFROM, p, unix.MSG_DONTWAIT)
}

// transfer is sendto or recvfrom, without an address. The scheduler is not told
// of the call, for it does not wait: telling it costs more than it gives here.
func (d *descriptor) transfer(call uintptr, p []byte, flags uintptr) (n int, err error) {
	if !d.use() {
		return 0, errClosed
	}
	defer d.done()
	for {
		n, _, errno := unix.RawSyscall6(call, uintptr(d.number),
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// watchWritable has the kernel tell once more when the socket takes bytes: also
// if it does so already.
func (d *descriptor) watchWritable() error {
	return d.control(unix.EPOLL_CTL_MOD, watched|unix.EPOLLOUT)
}

func (d *descriptor) control(op int, events uint32) error {
	if !d.use() {
		return errClosed
	}
	defer d.done()
	return unix.EpollCtl(d.set.epoll, op, int(d.number), &unix.EpollEvent{
		Events: events, Fd: d.number, Pad: int32(d.generation),
	})
}

// shutdown tells the peer that nothing more comes.
func (d *descriptor) shutdown() error {
	if !d.use() {
		return errClosed
	}
	defer d.done()
	return unix.Shutdown(int(d.number), unix.SHUT_WR)
}

// failure is why the kernel gave the connection up; nil: it did not.
func (d *descriptor) failure() error {
	if !d.use() {
		return errClosed
	}
	defer d.done()
	code, err := unix.GetsockoptInt(int(d.number), unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || code == 0 {
		return err
	}
	return unix.Errno(code)
}
