// Package typing is a typing test as the comparison's servers keep it (see loadtest/bench/steady.py): frames of keys
// in, ticks out.
package typing

import (
	"encoding/binary"
	"errors"
	"math"
	"sync"
	"time"
)

var errFrame = errors.New("no frame of keys, or not the next one")

// reader takes as much of msgpack as a frame of keys has.
type reader struct {
	data []byte
	bad  bool
}

func (r *reader) take(bytes int) (value uint32) {
	if len(r.data) < bytes {
		r.bad = true
		return 0
	}
	for _, one := range r.data[:bytes] {
		value = value<<8 | uint32(one)
	}
	r.data = r.data[bytes:]
	return value
}

func (r *reader) sized(tag, mask, wide uint32) uint32 {
	first := r.take(1)
	if first&^mask == tag {
		return first & mask
	}
	if first != wide {
		r.bad = true
		return 0
	}
	return r.take(2)
}

func (r *reader) fields() uint32 { return r.sized(0x80, 0x0f, 0xde) }
func (r *reader) list() uint32   { return r.sized(0x90, 0x0f, 0xdc) }

func (r *reader) text() []byte {
	size := int(r.sized(0xa0, 0x1f, 0xda))
	if r.bad || len(r.data) < size {
		r.bad = true
		return []byte{0}
	}
	text := r.data[:size]
	r.data = r.data[size:]
	return text
}

func (r *reader) number() uint32 {
	first := r.take(1)
	if first < 0x80 {
		return first
	}
	if first < 0xcc || first > 0xce {
		r.bad = true
		return 0
	}
	return r.take(1 << (first - 0xcc))
}

// Test is one typist's. Frames and ticks come from two goroutines.
type Test struct {
	lock                               sync.Mutex
	target, history                    []byte
	holds                              []uint16
	right                              []bool
	n, ticked, place, word, wordPlace  uint32
	committed, inserts, errors, timeMs uint32
}

// Keys takes one frame.
func (t *Test) Keys(frame []byte) error {
	t.lock.Lock()
	defer t.lock.Unlock()
	r := reader{data: frame}
	for fields := r.fields(); fields > 0 && !r.bad; fields-- {
		switch r.text()[0] {
		case 't':
			r.text()
		case 'n':
			if r.number() != t.n {
				return errFrame
			}
		case 'e':
			for pairs := r.list() / 2; pairs > 0 && !r.bad; pairs-- {
				gapMs := r.number()
				t.key(gapMs, r.text())
			}
		case 'h':
			for pairs := r.list() / 2; pairs > 0 && !r.bad; pairs-- {
				event, holdMs := r.number(), r.number()
				if int(event) < len(t.holds) {
					t.holds[event] = uint16(holdMs)
				}
			}
		default:
			return errFrame
		}
	}
	if r.bad {
		return errFrame
	}
	return nil
}

func (t *Test) key(gapMs uint32, typed []byte) {
	if t.n > 0 {
		t.timeMs += gapMs
	}
	t.n++
	t.history = append(append(t.history, byte(gapMs), byte(gapMs>>8)), typed...)
	t.holds = append(t.holds, 0)
	if typed[0] == '\b' {
		if t.place > t.wordPlace {
			t.place--
			t.right = t.right[:len(t.right)-1]
		}
		return
	}
	correct := len(typed) == 1 && typed[0] == t.target[int(t.place)%len(t.target)]
	t.inserts++
	if !correct {
		t.errors++
	}
	t.right = append(t.right, correct)
	t.place++
	if typed[0] == ' ' {
		whole := true
		for _, one := range t.right {
			whole = whole && one
		}
		if whole {
			t.committed += t.place - t.wordPlace
		}
		t.right = t.right[:0]
		t.wordPlace = t.place
		t.word++
	}
}

// Tick returns the tick's message; nil where nothing came since the last one.
func (t *Test) Tick() []byte {
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.n == t.ticked {
		return nil
	}
	t.ticked = t.n
	active := uint32(0)
	for _, one := range t.right {
		if !one {
			break
		}
		active++
	}
	speed, acc := 0.0, 100.0
	if t.timeMs > 0 {
		speed = 12_000 / float64(t.timeMs)
	}
	if t.inserts > 0 {
		acc = 100 * float64(t.inserts-t.errors) / float64(t.inserts)
	}
	out := make([]byte, 0, 160)
	out = number(append(out, "\x88\xa1t\xa4tick\xa1n"...), t.n)
	out = append(append(out, "\xa1r\xc4\x40"...), receipt[:]...)
	out = real(append(out, "\xa3wpm"...), speed*float64(t.committed+active))
	out = real(append(out, "\xa3raw"...), speed*float64(t.place))
	out = real(append(out, "\xa3acc"...), acc)
	out = number(number(append(out, "\xa3pos\x92"...), t.word), t.place-t.wordPlace)
	return number(append(out, "\xa3err"...), t.errors)
}

var receipt [64]byte // a receipt's place: making one is not asked of these servers

func number(out []byte, value uint32) []byte {
	return binary.BigEndian.AppendUint16(append(out, 0xcd), uint16(value))
}

func real(out []byte, value float64) []byte {
	return binary.BigEndian.AppendUint64(append(out, 0xcb), math.Float64bits(value))
}

// Typist is a connection with its test.
type Typist struct {
	Test *Test
	Send func([]byte)
}

// Ticker gives each typist a tick a second: a fortieth of them has its turn every 25 ms.
type Ticker struct {
	lock    sync.Mutex
	buckets [40]map[*Typist]struct{}
	next    int
}

// Begin makes a test of its text, which is the first message of a connection.
func (t *Ticker) Begin(text []byte, send func([]byte)) (typist *Typist, end func()) {
	typist = &Typist{&Test{target: append([]byte(nil), text...)}, send}
	t.lock.Lock()
	defer t.lock.Unlock()
	at := t.next % 40
	t.next++
	if t.buckets[at] == nil {
		t.buckets[at] = map[*Typist]struct{}{}
	}
	t.buckets[at][typist] = struct{}{}
	return typist, func() {
		t.lock.Lock()
		defer t.lock.Unlock()
		delete(t.buckets[at], typist)
	}
}

// Run ticks for ever.
func (t *Ticker) Run() {
	var due []*Typist
	for turn := 0; ; turn++ {
		time.Sleep(25 * time.Millisecond)
		t.lock.Lock()
		due = due[:0]
		for typist := range t.buckets[turn%40] {
			due = append(due, typist)
		}
		t.lock.Unlock()
		for _, typist := range due {
			if message := typist.Test.Tick(); message != nil {
				typist.Send(message)
			}
		}
	}
}
