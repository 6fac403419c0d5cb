package sse

import (
	"compress/flate"
	"encoding/binary"
	"sync"
)

// A Compressor compresses event streams in one content coding (RFC 9110,
// section 8.4.1), so that what many of them say is compressed once: an encoded
// event stream is a sequence of blocks that know nothing of each other, and a
// [Frame] keeps the block it became. What is an event stream's own stands in
// blocks of its own. Made by [Gzip] or [Zstd]; for concurrent use.
//
// A block is one frame of 500 bytes or more; one event of a single stream with
// 1 KiB of data or more; or everything else that stands between such, ids among
// it, which is compressed only if it comes to 1 KiB. What does not become
// smaller is sent as it is. No block tells anything of another, so an observer
// who knows their lengths learns only of what was said within one.
type Compressor struct {
	format *format

	// compress appends text to dst as blocks that stand alone.
	compress func(dst, text []byte) []byte
}

const (
	// minBlock is from which size, in bytes, an event is a block of its own.
	// Below, a block's head and tables outweigh what it saves.
	minBlock = 500

	// minRun is from which size the same is done with what is one stream's own:
	// below, it costs more CPU than the write, to save less than a packet.
	minRun = 1 << 10
)

// A format is what event streams need to know of a content coding.
type format struct {
	name   string
	slot   int    // of a Frame's blocks
	header string // before everything
	prefix string // before blocks that are joined
	flush  string // after uncompressed blocks, for readers that wait for it
	limit  int    // of an uncompressed block, in bytes
	room   int    // the length of its head

	// appendHead appends the head of an uncompressed block of n bytes; more
	// says that another block of the same prefix follows.
	appendHead func(b []byte, n int, more bool) []byte

	// appendEnd appends the end of a stream whose text had this checksum and
	// length.
	appendEnd func(b []byte, crc, size uint32) []byte
}

// formats is how many there are.
const formats = 2

// gzip is RFC 1952: one header, deflate blocks (RFC 1951), a trailer. Stored
// blocks are byte-aligned where the block before is, and all are: compressed
// ones end in a sync flush. Go's own reader keeps stored bytes to itself until
// it meets an empty block, hence flush, which is one.
var gzip = format{
	name: "gzip", slot: 0,
	header: "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff",
	flush:  "\x00\x00\x00\xff\xff",
	limit:  1<<16 - 1, room: 5,
	appendHead: func(b []byte, n int, _ bool) []byte {
		b = binary.LittleEndian.AppendUint16(append(b, 0), uint16(n))
		return binary.LittleEndian.AppendUint16(b, ^uint16(n))
	},
	appendEnd: func(b []byte, crc, size uint32) []byte {
		b = append(b, "\x03\x00"...) // a last block, empty
		b = binary.LittleEndian.AppendUint32(b, crc)
		return binary.LittleEndian.AppendUint32(b, size)
	},
}

// zstd is RFC 8878: any number of frames. Each begins with its magic number, a
// descriptor without checksum, and a window of zstdWindow; raw blocks may come
// before compressed ones, of which only the first blocks of a frame stand alone.
var zstd = format{
	name: "zstd", slot: 1,
	prefix: "\x28\xb5\x2f\xfd\x00\x38",
	limit:  zstdWindow, room: 3,
	appendHead: func(b []byte, n int, more bool) []byte {
		head := uint32(n) << 3
		if !more {
			head |= 1
		}
		return append(b, byte(head), byte(head>>8), byte(head>>16))
	},
	appendEnd: func(b []byte, _, _ uint32) []byte { return b },
}

// zstdWindow bounds a block too; browsers allow up to 8 MiB (RFC 9659).
const zstdWindow = 128 << 10

// pays tells whether a block of size bytes is worth its while in place of text
// that could have joined what is before and after it.
func (f *format) pays(size, text int) bool { return size+len(f.prefix)+f.room < text }

// Gzip is the compressor for the content coding gzip, which every browser and
// HTTP library knows.
func Gzip() *Compressor { return &Compressor{&gzip, deflate} }

// Zstd is the compressor for the content coding zstd. EncodeAll appends src to
// dst as one zstd frame (RFC 8878) without a dictionary, whose matches reach
// back 128 KiB at most; it must be for concurrent use. The method of this name
// of github.com/klauspost/compress/zstd's Encoder is meant, with
// WithWindowSize(128<<10).
func Zstd(encodeAll func(src, dst []byte) []byte) *Compressor {
	return &Compressor{&zstd, func(dst, text []byte) []byte {
		all := encodeAll(text, dst)
		blocks := zstdBlocks(all[len(dst):])
		return all[:len(dst)+copy(all[len(dst):], blocks)]
	}}
}

// zstdBlocks is a zstd frame without its header and checksum (RFC 8878, section
// 3.1.1).
func zstdBlocks(frame []byte) []byte {
	descriptor := frame[4]
	header := 5 + []int{0, 1, 2, 4}[descriptor&3] + []int{0, 2, 4, 8}[descriptor>>6]
	if single := descriptor>>5&1 == 1; !single || descriptor>>6 == 0 {
		header++ // the window or, of a single segment, the shortest content size
	}
	if descriptor>>2&1 == 1 {
		frame = frame[:len(frame)-4]
	}
	return frame[header:]
}

// Name is the content coding's name in HTTP: gzip or zstd.
func (c *Compressor) Name() string { return c.format.name }

// A deflater is a flate.Writer with a buffer to write to.
type deflater struct {
	w   *flate.Writer
	out []byte
}

func (d *deflater) Write(p []byte) (int, error) {
	d.out = append(d.out, p...)
	return len(p), nil
}

var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	d.w, _ = flate.NewWriter(d, flate.BestSpeed) // it is a level
	return d
}}

// deflate appends text as deflate blocks that refer to nothing before them and
// end in a sync flush.
func deflate(dst, text []byte) []byte {
	d := deflaters.Get().(*deflater)
	defer deflaters.Put(d)
	d.out = dst
	d.w.Reset(d)
	_, _ = d.w.Write(text) // d's Write cannot fail
	_ = d.w.Flush()
	dst, d.out = d.out, nil
	return dst
}
