package app

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

// A storage keeps the sessions' records in memory and, where it has a file, beyond the
// process. Sometimes it is slow, and sometimes it fails: never for a write that the app
// could not do without, which would be no fault of Comet's.
type storage struct {
	file string

	mu      sync.Mutex
	random  *rand.Rand
	records map[string]record
	saved   time.Time
	Calls   int
	Failed  int
}

type record struct {
	Data []byte
	Ends time.Time
}

var errStorage = errors.New("the storage fails, as it is told to")

// newStorage reads what the file has.
func newStorage(file string, random *rand.Rand) *storage {
	s := &storage{file: file, random: random, records: map[string]record{}}
	if data, err := os.ReadFile(file); err == nil {
		_ = json.Unmarshal(data, &s.records) // torn by a kill: lost, as storages are
	}
	return s
}

// trouble waits or fails, by chance.
func (s *storage) trouble() error {
	s.mu.Lock()
	s.Calls++
	dice := s.random.IntN(1000)
	wait := time.Duration(s.random.IntN(300)) * time.Millisecond
	if dice < 5 {
		s.Failed++
	}
	s.mu.Unlock()
	switch {
	case dice < 5:
		return errStorage
	case dice < 25:
		time.Sleep(wait)
	}
	return nil
}

// Get implements fiber.Storage.
func (s *storage) Get(key string) ([]byte, error) {
	if err := s.trouble(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[key]
	if !ok || time.Now().After(r.Ends) {
		return nil, nil
	}
	return r.Data, nil
}

// Set implements fiber.Storage.
func (s *storage) Set(key string, data []byte, life time.Duration) error {
	if err := s.trouble(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[string([]byte(key))] = record{append([]byte(nil), data...), time.Now().Add(life)}
	if time.Since(s.saved) > time.Second {
		s.save()
	}
	return nil
}

// save forgets what is over, and writes what is kept. It needs s.mu.
func (s *storage) save() {
	s.saved = time.Now()
	for key, r := range s.records {
		if s.saved.After(r.Ends) {
			delete(s.records, key)
		}
	}
	if s.file == "" {
		return
	}
	if data, err := json.Marshal(s.records); err == nil && os.WriteFile(s.file+".new", data, 0o600) == nil {
		_ = os.Rename(s.file+".new", s.file)
	}
}

// Delete implements fiber.Storage.
func (s *storage) Delete(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, key)
	return nil
}

// Reset implements fiber.Storage.
func (s *storage) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.records)
	return nil
}

// Close implements fiber.Storage.
func (s *storage) Close() error { return nil }
