// The client of coder/websocket. It speaks what driver.py describes.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"

	"github.com/coder/websocket"
)

type command struct {
	Op, As, On, URL, Text string
	Headers               map[string]string
	Parts                 []string
	Code                  int
}

type answer struct {
	Text   *string `json:"text,omitempty"`
	Status int     `json:"status,omitempty"`
	Closed []any   `json:"closed,omitempty"`
}

var sockets = map[string]*socket{}

// A socket is read all the time, as the library asks: pongs and closes are seen by reading.
type socket struct {
	connection *websocket.Conn
	incoming   chan answer
}

func (s *socket) read() {
	for {
		_, data, err := s.connection.Read(context.Background())
		if err != nil {
			s.incoming <- over(err)
			return
		}
		text := string(data)
		s.incoming <- answer{Text: &text}
	}
}

func over(err error) answer {
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		return answer{Closed: []any{int(closed.Code), closed.Reason}}
	}
	return answer{Closed: []any{0, err.Error()}}
}

// Close tells nobody what the relay answered; reading does.
func (s *socket) close(code int) answer {
	_ = s.connection.Close(websocket.StatusCode(code), "")
	item := <-s.incoming
	for item.Closed == nil {
		item = <-s.incoming
	}
	return item
}

func connect(c command) answer {
	header := http.Header{}
	for name, value := range c.Headers {
		header.Set(name, value)
	}
	options := &websocket.DialOptions{HTTPHeader: header}
	connection, response, err := websocket.Dial(context.Background(), c.URL, options)
	if err != nil {
		if response == nil {
			return answer{Closed: []any{0, err.Error()}}
		}
		return answer{Status: response.StatusCode}
	}
	connection.SetReadLimit(1 << 20)
	s := &socket{connection, make(chan answer, 1024)}
	sockets[c.As] = s
	go s.read()
	return answer{}
}

func fragments(s *socket, parts []string) error {
	writer, err := s.connection.Writer(context.Background(), websocket.MessageText)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if _, err := writer.Write([]byte(part)); err != nil {
			return err
		}
	}
	return writer.Close()
}

func perform(c command) answer {
	if c.Op == "connect" {
		return connect(c)
	}
	s := sockets[c.On]
	var err error
	switch c.Op {
	case "send":
		err = s.connection.Write(context.Background(), websocket.MessageText, []byte(c.Text))
	case "fragments":
		err = fragments(s, c.Parts)
	case "receive":
		return <-s.incoming
	case "ping":
		err = s.connection.Ping(context.Background())
	case "close":
		return s.close(c.Code)
	}
	if err != nil {
		return over(err)
	}
	return answer{}
}

func main() {
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	output := json.NewEncoder(os.Stdout)
	output.SetEscapeHTML(false)
	for {
		line, err := input.ReadBytes('\n')
		if err != nil {
			return
		}
		var c command
		if err := json.Unmarshal(line, &c); err != nil {
			panic(err)
		}
		if err := output.Encode(perform(c)); err != nil {
			panic(err)
		}
	}
}
