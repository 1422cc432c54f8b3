// Stands in for WSO2 Micro Integrator, whose image cannot be had without its registry: its ports with the offset of 10, its
// health answers, and nothing of an integration. 8253 and 9164 speak no TLS here.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
)

const settings = "/home/wso2carbon/wso2-config-volume/conf/deployment.toml"

// What answers instead of an API: what it was started with.
func told(w http.ResponseWriter, _ *http.Request) {
	_, missing := os.Stat(settings)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"standIn":        true,
		"user":           os.Getuid(),
		"memory":         os.Getenv("JVM_MEM_OPTS"),
		"deploymentToml": missing == nil,
	})
}

// As ReadinessResource of its source writes it. Which carbon applications are faulty a variable says here.
func healthz(w http.ResponseWriter, _ *http.Request) {
	faulty := strings.Fields(os.Getenv("FAULTY_CAPPS"))
	if len(faulty) == 0 {
		fmt.Fprint(w, `{"version":"stand-in","status" : "ready"}`)
		return
	}
	w.WriteHeader(http.StatusInternalServerError)
	names, _ := json.Marshal(faulty)
	fmt.Fprintf(w, `{"version":"stand-in","status": "not ready, faulty CAPPs detected", "Faulty CAPPs" : %s}`, names)
}

func main() {
	if options := os.Getenv("JAVA_OPTS"); !strings.Contains(options, "-DportOffset=10") {
		log.Fatalf("JAVA_OPTS gives no offset of 10: %q", options)
	}
	internal := http.NewServeMux()
	internal.HandleFunc("GET /healthz", healthz)
	internal.HandleFunc("GET /liveness", func(http.ResponseWriter, *http.Request) {})
	for _, port := range []string{":8253", ":9164"} {
		go func() { log.Fatal(http.ListenAndServe(port, http.HandlerFunc(told))) }()
	}
	go func() { log.Fatal(http.ListenAndServe(":9201", internal)) }()
	log.Fatal(http.ListenAndServe(":8290", http.HandlerFunc(told)))
}
