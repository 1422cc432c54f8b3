// Command inventory answers GET /inventory with the stock and its own version, until it is told to stop.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

//go:embed VERSION
var version string

type answer struct {
	Service string         `json:"service"`
	Version string         `json:"version"`
	Stock   map[string]int `json:"stock"`
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /inventory", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		stock := map[string]int{"bolts": 1200, "nuts": 900}
		_ = json.NewEncoder(w).Encode(answer{"inventory", strings.TrimSpace(version), stock})
	})
	return mux
}

func main() {
	address := os.Getenv("LISTEN")
	if address == "" {
		address = ":8080"
	}
	server := &http.Server{Addr: address, Handler: handler(), ReadHeaderTimeout: 5 * time.Second}
	stopping, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		<-stopping.Done()
		deadline, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := server.Shutdown(deadline); err != nil {
			log.Print("requests were cut off: ", err)
		}
	}()
	log.Print("inventory ", strings.TrimSpace(version), " listens on ", address)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-drained
}
