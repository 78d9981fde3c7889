// A Go relay of the original's shape: a goroutine a connection, json.Valid and json.Marshal a
// frame, an outbox and its goroutine for each phone, a log line for each registration.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"log"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

type envelope struct {
	ConnID string          `json:"conn_id"`
	Frame  json.RawMessage `json:"frame,omitempty"`
}

type phone struct {
	outbox chan []byte
	done   chan struct{}
}

// A binary is in its place before its 101 goes out, so that a phone that dials at once finds it.
type binary struct {
	conn  *websocket.Conn
	ready chan struct{}
}

type relay struct {
	mu       sync.RWMutex
	binaries map[string]*binary
	phones   map[string]*phone
}

const limit = 1 << 20

func accept(w http.ResponseWriter, r *http.Request) (*websocket.Conn, error) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true,
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err == nil {
		c.SetReadLimit(limit)
		go heartbeat(c)
	}
	return c, err
}

func heartbeat(c *websocket.Conn) {
	for {
		time.Sleep(30 * time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		err := c.Ping(ctx)
		cancel()
		if err != nil {
			return
		}
	}
}

func (s *relay) server(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("X-Pyrycode-Server")
	b := &binary{ready: make(chan struct{})}
	s.mu.Lock()
	s.binaries[id] = b
	s.mu.Unlock()
	c, err := accept(w, r)
	b.conn = c
	close(b.ready)
	if err != nil {
		return
	}
	slog.Info("server_claimed", "server_id", id, "remote", r.RemoteAddr)
	for {
		_, data, err := c.Read(r.Context())
		if err != nil {
			return
		}
		var e envelope
		if json.Unmarshal(data, &e) != nil {
			continue
		}
		s.mu.RLock()
		p := s.phones[e.ConnID]
		s.mu.RUnlock()
		if p != nil {
			select {
			case p.outbox <- e.Frame:
			case <-p.done:
			}
		}
	}
}

func (s *relay) client(w http.ResponseWriter, r *http.Request) {
	c, err := accept(w, r)
	if err != nil {
		return
	}
	id := r.Header.Get("X-Pyrycode-Server")
	random := make([]byte, 4)
	rand.Read(random)
	connID := "client-" + id + "-" + hex.EncodeToString(random)
	p := &phone{make(chan []byte, 64), make(chan struct{})}
	s.mu.Lock()
	s.phones[connID] = p
	s.mu.Unlock()
	slog.Info("phone_registered", "server_id", id, "conn_id", connID, "remote", r.RemoteAddr)
	s.mu.RLock()
	b := s.binaries[id]
	s.mu.RUnlock()
	if b == nil {
		c.Close(4404, "no server with that id")
		return
	}
	<-b.ready
	defer close(p.done)
	defer func() {
		s.mu.Lock()
		delete(s.phones, connID)
		s.mu.Unlock()
	}()
	go func() {
		for {
			var frame []byte
			select {
			case frame = <-p.outbox:
			case <-p.done:
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			err := c.Write(ctx, websocket.MessageText, frame)
			cancel()
			if err != nil {
				return
			}
		}
	}()
	for {
		_, data, err := c.Read(r.Context())
		if err != nil || !json.Valid(data) {
			return
		}
		wrapped, err := json.Marshal(envelope{connID, data})
		if err != nil {
			return
		}
		s.mu.RLock()
		b := s.binaries[id]
		s.mu.RUnlock()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err = b.conn.Write(ctx, websocket.MessageText, wrapped)
		cancel()
		if err != nil {
			return
		}
	}
}

func main() {
	s := &relay{binaries: map[string]*binary{}, phones: map[string]*phone{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/server", s.server)
	mux.HandleFunc("/v1/client", s.client)
	address := os.Args[1]
	if !strings.Contains(address, ":") {
		address = "127.0.0.1:" + address
	}
	if len(os.Args) > 3 {
		log.Fatal(http.ListenAndServeTLS(address, os.Args[2], os.Args[3], mux))
	}
	log.Fatal(http.ListenAndServe(address, mux))
}
